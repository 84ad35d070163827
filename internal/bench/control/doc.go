// Package control measures the control plane at scale.
package control
