package etcd

import "github.com/gostratos/stratos/store"

// QueueBound is the most that a watcher keeps: what makes it full may be one response.
const QueueBound = queueBatches + 1000

// Queued returns how many batches w keeps.
func Queued(w store.Watcher) int {
	q := w.(*watcher)
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue)
}
