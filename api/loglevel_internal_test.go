package api

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestLevelOf(t *testing.T) {
	for _, c := range []struct {
		text string
		want Level
		ok   bool
	}{
		{"listening on 8080", LevelInfo, false},
		{"", LevelInfo, false},
		{"2 errors found, none is fatal", LevelInfo, false},
		{"GET /error/warning 200", LevelInfo, false},
		{`time=2026-11-24T03:57:07Z level=WARN msg="error ahead"`, LevelWarn, true},
		{`{"time":"x","level":"error","msg":"no"}`, LevelError, true},
		{`{"severity": "DEBUG"}`, LevelDebug, true},
		{"2026/11/24 03:57:07 [error] 12#12: *1 open() failed", LevelError, true},
		{"[24-Nov-2026 03:57:07] WARNING: [pool www] child 3 exited", LevelWarn, true},
		{"[Tue Nov 24 03:57:07 2026] [php:notice] x", LevelInfo, true},
		{"PHP Fatal error:  Uncaught Error", LevelError, true},
		{"PHP Deprecated:  x", LevelWarn, true},
		{"24-Nov-2026 03:57:07.123 SEVERE [main] org.apache.catalina", LevelError, true},
		{"24-Nov-2026 03:57:07.123 INFO [main] org.apache.catalina", LevelInfo, true},
		{"2026-11-24 03:57:07,123 WARNING root: x", LevelWarn, true},
		{"2026-11-24  3:57:07 0 [Note] mariadbd: ready", LevelInfo, true},
		{"2026-11-24  3:57:07 0 [ERROR] mariadbd: no", LevelError, true},
		{"panic: runtime error: index out of range", LevelError, true},
		{"Traceback (most recent call last):", LevelError, true},
		{"ERROR something", LevelError, true},
		{"error: cannot", LevelError, true},
	} {
		t.Run(c.text, func(t *testing.T) {
			l, ok := levelOf(c.text)
			require.Equal(t, c.want, l)
			require.Equal(t, c.ok, ok)
		})
	}
}

func FuzzLevelOf(f *testing.F) {
	f.Add("[error] x")
	f.Add("level=\xff")
	f.Fuzz(func(t *testing.T, text string) {
		l, _ := levelOf(text)
		parsed, err := ParseLevel(string(l))
		require.NoError(t, err)
		require.Equal(t, l, parsed)
		require.True(t, utf8.ValidString(string(l)))
		require.True(t, LevelError.atLeast(l))
	})
}
