//go:build !race

package controller

// simSeeds is how many histories TestSimulation runs if it is not told.
const simSeeds = 300
