package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const module = "github.com/gostratos/stratos"

// command is a program that ends, with what it started, when ctx does.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// goTest runs tests of a package, and returns what they said, also when they fail.
func goTest(ctx context.Context, pkg, run string, env ...string) (string, error) {
	cmd := command(ctx, "go", "test", "-count=1", "-v", "-timeout", "24h", "-run", run, module+pkg)
	cmd.Env = append(os.Environ(), env...)
	return output(cmd, run)
}

// output runs a test; its error has the line that says why it failed.
func output(cmd *exec.Cmd, run string) (string, error) {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", run, err, reason(out))
	}
	if !bytes.Contains(out, []byte("--- PASS: ")) {
		return string(out), fmt.Errorf("%s: there is no such test", run)
	}
	return string(out), nil
}

// reason finds the most telling line of a test that failed, and adds the end of its output.
func reason(out []byte) string {
	why := regexp.MustCompile(`(?m)^\s*(?:Error:\s.*|Messages:\s.*|\S+_test\.go:\d+: (?:STRATOS_TEST_SEED=\d+ \(|\D).*|panic: .*)$`).FindAll(out, 3)
	const enough = 3000
	return strings.Join(strings.Fields(string(bytes.Join(why, []byte(" ")))), " ") + "\n" + string(out[max(0, len(out)-enough):])
}

// buildTest compiles the tests of a package, and returns the program.
func (b *bench) buildTest(ctx context.Context, pkg string) (string, error) {
	program := filepath.Join(b.dir, filepath.Base(pkg)+".test")
	if out, err := command(ctx, "go", "test", "-c", "-o", program, module+pkg).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the tests of %s: %w: %s", pkg, err, out)
	}
	return program, nil
}
