package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// verdict is what the tests say of a mutant.
type verdict int

const (
	survived verdict = iota
	killed
	killedLate   // the tests hung
	killedByRace // by the race detector alone
	broken       // it does not compile
)

func (v verdict) String() string {
	return [...]string{"SURVIVED", "killed", "hung", "raced", "broken"}[v]
}

// try applies m to the copy in dir, runs the tests of pkg, and takes m back. The zero mutant
// changes nothing.
func (o options) try(dir, pkg string, m mutant) (verdict, string) {
	if m.file != "" {
		if err := os.WriteFile(m.file, m.apply(), 0o644); err != nil {
			return broken, err.Error()
		}
		defer os.WriteFile(m.file, m.source, 0o644)
	}
	v, output := o.test(dir, pkg, false)
	if v == survived && o.race {
		if v, output = o.test(dir, pkg, true); v == killed {
			v = killedByRace
		}
	}
	return v, output
}

// memory bounds the address space of a test binary in kB: a mutant may well allocate for ever.
// The race detector reserves far more than it uses and is left alone.
const memory = 6 << 20

func (o options) test(dir, pkg string, race bool) (verdict, string) {
	binary := filepath.Join(dir, "mutant.test")
	args := []string{"test", "-c", "-vet=off", "-o", binary}
	limit := fmt.Sprintf("ulimit -v %d; ", memory)
	timeout := o.timeout
	if race {
		args, limit, timeout = append(args, "-race"), "", 3*timeout
	}
	if output, err := command(context.Background(), dir, "go", append(args, "./"+pkg)...); err != nil {
		return broken, output
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	output, err := command(ctx, filepath.Join(dir, pkg), "sh", "-c", limit+"exec "+binary+" -test.short -test.failfast")
	switch {
	case ctx.Err() != nil:
		return killedLate, output
	case err != nil:
		return killed, output
	}
	return survived, ""
}

func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	c.WaitDelay = time.Second
	output, err := c.CombinedOutput()
	return string(output), err
}

// copyModule copies the Go files, test data and go.mod of the module in root, without the modules
// nested in it.
func copyModule(root, dir string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel == "." {
				return nil
			}
			_, nested := os.Stat(filepath.Join(path, "go.mod"))
			if strings.HasPrefix(d.Name(), ".") || nested == nil {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(dir, rel), 0o755)
		}
		if !d.Type().IsRegular() || strings.HasPrefix(d.Name(), "go.work") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, rel), data, 0o644)
	})
}
