// Package rules keeps, as tests, the rules that this repository is written by:
// who may import whom, what the framework may link, what a file must not hold.
// There is nothing to import; see CONTRIBUTING.md for what the rules are for.
package rules
