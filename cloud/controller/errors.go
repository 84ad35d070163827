package controller

import "errors"

// Errors of Join and Report, each of which tells the agent something different.
var (
	// ErrRefused: this agent is not the member's, and never will be.
	ErrRefused = errors.New("not admitted")
	// ErrGone: the member is terminated; its agent stops.
	ErrGone = errors.New("member is terminated")
	// ErrNotYet: the instance is not recorded yet; the agent asks again.
	ErrNotYet = errors.New("not recorded yet")
)
