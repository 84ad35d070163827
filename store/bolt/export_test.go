package bolt

// WithoutSync is the mutation "commit acknowledged before sync". It is called before the first commit.
func WithoutSync(s *Store) { s.db.NoSync = true }
