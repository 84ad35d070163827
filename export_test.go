package stratos

import "github.com/gostratos/stratos/balancer"

// Applied is the table of this process's balancer, nil before the first.
func (p *Platform) Applied() *balancer.Table { return p.edge.applied.Load() }
