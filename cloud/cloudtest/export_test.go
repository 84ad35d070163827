package cloudtest

import "testing"

// Promises returns the names of all promises.
func Promises() []string {
	var names []string
	for _, p := range promises() {
		names = append(names, p.name)
	}
	return names
}

// Check checks one promise as [Run] does.
func Check(t testing.TB, name string, h Harness) {
	for _, p := range promises() {
		if p.name == name {
			p.check(newScene(t, h))
			return
		}
	}
	t.Fatalf("no promise is called %s", name)
}
