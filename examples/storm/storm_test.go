package main

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
)

func TestStorm_inVirtualTime(t *testing.T) {
	for _, scale := range []lengths{full, short} {
		for seed := range uint64(8) {
			synctest.Test(t, func(t *testing.T) {
				null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer null.Close()
				results, err := storm(context.Background(), &pipes{}, forecast(scale), seed, null)
				if err != nil {
					t.Fatal(err)
				}
				writeTable(os.Stdout, results)
				text, _ := verdict(results)
				t.Log(text)
			})
		}
	}
}
