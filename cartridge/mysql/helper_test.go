package mysql_test

import "time"

const (
	patience = time.Minute
	look     = 10 * time.Millisecond
)
