package benchmarks

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// TestMain has the process own some memory before anything is measured. Else whoever comes first
// pays for getting it, which on a virtual machine may double what an allocation costs.
func TestMain(m *testing.M) {
	own(64 << 20)
	os.Exit(m.Run())
}

// own gets so many bytes from the operating system, touches them, and leaves them free.
func own(bytes int) {
	before := debug.SetGCPercent(-1)
	page := os.Getpagesize()
	blocks := make([][]byte, bytes>>16)
	for i := range blocks {
		blocks[i] = make([]byte, 1<<16)
		for at := 0; at < len(blocks[i]); at += page {
			blocks[i][at] = 1
		}
	}
	runtime.KeepAlive(blocks)
	debug.SetGCPercent(before)
	runtime.GC()
}
