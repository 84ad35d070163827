package main

// rows are the figures that a release reports.
func rows() []row {
	return []row{
		{1, "kill -9 of the control plane at each step of a launch and at random moments", "0 acknowledged writes lost, 0 instances leaked, 0 doubled", kills},
		{2, "simulation of the controller: crashes, lost replies, list lag, paused old leaders", "0 violations; all mutations caught", simulation},
		{3, "linearizability of each engine under faults", "ok; a falsified history is rejected", linearizability},
		{4, "watch contract with reconnects and compaction", "0 gaps, duplicates, reorders, splits", watching},
		{5, "leader killed: time to a new leader; writes of a paused old leader", "<= lease + 2 s; 0 accepted", leaders},
		{6, "frames of the stream dropped, doubled, reordered", "every consumer has the topology within one period", frames},
		{7, "leader cut off; control plane away", "0 failed requests, 0 members killed, 0 launched twice", away},
		{8, "many clusters on a mock cloud", "reported; growth linear", scale},
		{9, "power cut under a writing store", "0 acknowledged writes lost; a disk that lies does lose", powerCuts},
	}
}
