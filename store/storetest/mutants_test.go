package storetest_test

import (
	"context"
	"slices"
	"time"

	"github.com/gostratos/stratos/store"
)

// mutants are all ways to break the reference engine.
func mutants() []mutant { return slices.Concat(recordMutants(), watchMutants(), leaseMutants()) }

// recordMutants break reads and transactions.
func recordMutants() []mutant {
	return []mutant{
		{"conditions not checked", func(b *broken) { b.txn = func(x *store.Txn) { x.If = nil } },
			[]string{"ConditionsDecide", "ConflictTellsWhy", "AcknowledgedIsSeenByAll", "BehavesLikeAMap"}, ""},
		{"only the first condition checked", func(b *broken) { b.txn = func(x *store.Txn) { x.If = x.If[:min(1, len(x.If))] } },
			[]string{"ConditionsDecide", "RefusedTransactionChangesNothing"}, ""},
		{"guard not checked", func(b *broken) { b.txn = withoutGuards },
			[]string{"GuardFences", "OldLeaderIsFenced"}, "a guard that does not hold does not fence"},
		{"guard is a conflict", func(b *broken) { b.err = fenceIsConflict },
			[]string{"GuardFences", "OldLeaderIsFenced"}, ""},
		{"conflict is an unknown outcome", func(b *broken) { b.err = conflictIsUnknown },
			[]string{"ConditionsDecide"}, ""},
		{"transaction is applied in parts", func(b *broken) { b.parts = true },
			[]string{"TransactionIsSeenWholeOrNot", "WatchSeesEverythingWholeInOrderOnce", "BehavesLikeAMap"}, ""},
		{"acknowledged and lost", func(b *broken) { b.loseEvery = 9 },
			[]string{"AcknowledgedIsSeenByAll", "BehavesLikeAMap", "RevisionsGrow"}, ""},
		{"stale reads go back", func(b *broken) { b.staleBack = true },
			[]string{"StaleReadsNeverGoBack"}, ""},
		{"reads are stale", func(b *broken) { b.staleGet = true },
			[]string{"RecordsKeepTheirRevisions", "AcknowledgedIsSeenByAll"}, ""},
		{"limits are not kept", func(b *broken) { b.err = tooLargeIsFine },
			[]string{"LimitsAreKept"}, ""},
		{"nonsense is accepted", func(b *broken) { b.err = invalidIsFine },
			[]string{"NonsenseIsRefused"}, ""},
		{"pages show the present", func(b *broken) { b.pagesMove = true },
			[]string{"PagesShowOneState", "BehavesLikeAMap"}, ""},
		{"given up means not applied", func(b *broken) { b.givenUp = true },
			[]string{"OutcomesAreNeverFalselyClaimed"}, ""},
		{"close is ignored", func(b *broken) { b.noClose = true },
			[]string{"CloseEndsEverything"}, ""},
		{"id changes", func(b *broken) { b.id = raised() },
			[]string{"IDIsSetAndStable"}, ""},
		{"new store is of the second generation", func(b *broken) { b.id = secondGeneration },
			[]string{"IDIsSetAndStable"}, "never restored"},
		{"first revision is 0", func(b *broken) { b.apply = oneLess },
			[]string{"FreshStoreIsEmpty"}, "revision above 0"},
		{"written again keeps when it was first created", func(b *broken) { b.get = remembersCreation() },
			[]string{"DeletedAndWrittenAgainIsNew"}, ""},
		{"Get reads the past", func(b *broken) { b.get = getsThePast },
			[]string{"RecordsKeepTheirRevisions"}, "Get reads the present"},
		{"Get tells the revision of the record", func(b *broken) { b.get = getsOldRevision },
			[]string{"RecordsKeepTheirRevisions"}, "not that of the record"},
		{"lists are stale", func(b *broken) { b.list = listsStale },
			[]string{"RevisionsGrow"}, ""},
		{"ended context is an unknown outcome", func(b *broken) { b.err = canceledIsUnknown },
			[]string{"EndedContextChangesNothing"}, "surely nothing was done"},
		{"conflict tells no revision", func(b *broken) { b.err = conflictWithoutRevision },
			[]string{"ConflictTellsWhy"}, ""},
		{"absence of a leader is no guard", func(b *broken) { b.apply = absenceIsNoGuard },
			[]string{"GuardFences"}, "does not fence"},
		{"changing nothing makes a revision", func(b *broken) { b.txn = changesSomething },
			[]string{"ChangingNothingMakesNoRevision"}, ""},
		{"deletion of what is absent makes an event", func(b *broken) { b.apply = eachTxn(deletesAbsent) },
			[]string{"ChangingNothingMakesNoRevision"}, ""},
		{"conditions without changes are not checked", func(b *broken) { b.txn = checksOnlyChanges },
			[]string{"ChangingNothingMakesNoRevision"}, "changes nothing"},
		{"conditions have no limit", func(b *broken) { b.txn = func(x *store.Txn) { x.If = x.If[:min(store.MaxTxnOps, len(x.If))] } },
			[]string{"LimitsAreKept"}, "conditions over the limit"},
		{"fewer conditions than operations", func(b *broken) { b.apply = eachTxn(fewConditions) },
			[]string{"LimitsAreKept"}, "conditions and operations at the limit"},
		{"list is out of order", func(b *broken) { b.list = eachPage(func(p *store.Page, _ store.ReadOptions) { slices.Reverse(p.KVs) }) },
			[]string{"ListIsOrderedAndBelowThePrefix"}, ""},
		{"list ignores the prefix", func(b *broken) { b.list = eachList(func(prefix *string, _ *store.ReadOptions) { *prefix = "" }) },
			[]string{"ListIsOrderedAndBelowThePrefix"}, ""},
		{"list ignores the limit", func(b *broken) { b.list = eachList(func(_ *string, o *store.ReadOptions) { o.Limit = 0 }) },
			[]string{"PagesEndExactly"}, ""},
		{"page says that there is more at the end", func(b *broken) { b.list = eachPage(alwaysMore) },
			[]string{"PagesEndExactly"}, "a page that was said to be there"},
		{"page begins with the last key", func(b *broken) { b.list = beginsWithAfter },
			[]string{"PagesEndExactly"}, ""},
		{"long list is cut short", func(b *broken) {
			b.list = eachPage(func(p *store.Page, _ store.ReadOptions) { p.KVs = p.KVs[:min(1000, len(p.KVs))] })
		},
			[]string{"LongListShowsOneState"}, "1000 records of 5000"},
		{"long list shows several states", func(b *broken) { b.list = listsInPieces },
			[]string{"LongListShowsOneState"}, "a list of two states"},
		{"compacted page is served", func(b *broken) { b.list = servesCompacted },
			[]string{"CompactedPageFails"}, ""},
		{"negative At is accepted", func(b *broken) { b.list = eachList(func(_ *string, o *store.ReadOptions) { o.At = max(o.At, 0) }) },
			[]string{"NonsenseIsRefused"}, "a negative At"},
		{"what was handed out changes", func(b *broken) { b.list = reusesPages() },
			[]string{"BehavesLikeAMap"}, "what was handed out"},
		{"ended context is ignored by ID", func(b *broken) { b.noCtx = "ID" },
			[]string{"EndedContextChangesNothing"}, "ID"},
		{"ended context is ignored by Get", func(b *broken) { b.noCtx = "Get" },
			[]string{"EndedContextChangesNothing"}, "Get"},
		{"ended context is ignored by List", func(b *broken) { b.noCtx = "List" },
			[]string{"EndedContextChangesNothing"}, "List"},
		{"ended context is ignored by Commit", func(b *broken) { b.noCtx = "Commit" },
			[]string{"EndedContextChangesNothing"}, "Commit"},
		{"ended context is ignored by Watch", func(b *broken) { b.noCtx = "Watch" },
			[]string{"EndedContextChangesNothing"}, "Watch"},
		{"ended context is ignored by Grant", func(b *broken) { b.noCtx = "Grant" },
			[]string{"EndedContextChangesNothing"}, "Grant"},
		{"ended context is ignored by Compact", func(b *broken) { b.noCtx = "Compact" },
			[]string{"EndedContextChangesNothing"}, "Compact"},
	}
}

// watchMutants break watchers and the history.
func watchMutants() []mutant {
	return []mutant{
		{"transaction split over two watch batches", func(b *broken) { b.next = splitBatches() },
			[]string{"WatchSeesEverythingWholeInOrderOnce", "WatchSeesOnlyItsPrefix", "BehavesLikeAMap"}, "is not whole"},
		{"watch starts one revision late", func(b *broken) { b.after = 1 },
			[]string{"WatchTellsWhatHappened", "ListThenWatchHasNoGapAndNoOverlap", "CompactedWatchFailsAtOnce"}, "the next batch does not come"},
		{"watch starts one revision early", func(b *broken) { b.after = -1 },
			[]string{"ListThenWatchHasNoGapAndNoOverlap", "WatchTellsWhatHappened"}, ""},
		{"watch drops a batch", func(b *broken) { b.next = dropEvery(7) },
			[]string{"WatchSeesEverythingWholeInOrderOnce"}, ""},
		{"watch repeats a batch", func(b *broken) { b.next = repeatEvery(7) },
			[]string{"WatchSeesEverythingWholeInOrderOnce"}, ""},
		{"watch ignores the prefix", func(b *broken) { b.noPrefix = true },
			[]string{"WatchSeesOnlyItsPrefix"}, ""},
		{"watch reports no progress", func(b *broken) { b.next = silent },
			[]string{"WatchReportsProgress"}, ""},
		{"progress runs ahead", func(b *broken) { b.next = progressAhead },
			[]string{"WatchReportsProgress"}, ""},
		{"Next loses a batch when given up", func(b *broken) { b.next = eager },
			[]string{"NextGivenUpLosesNothing"}, ""},
		{"watcher ends with the call", func(b *broken) { b.watchDies = true },
			[]string{"WatcherOutlivesTheCall"}, ""},
		{"closed watcher goes on", func(b *broken) { b.closeKeeps = true },
			[]string{"ClosedWatcherEnds"}, ""},
		{"compacted start served silently", func(b *broken) { b.watchMoves = true },
			[]string{"CompactedWatchFailsAtOnce"}, "a start that was compacted away, after"},
		{"future start is accepted", func(b *broken) { b.watchFuture = true },
			[]string{"FutureWatchIsRefused"}, ""},
		{"slow watcher loses its place silently", func(b *broken) { b.slowMoves = true },
			[]string{"SlowWatcherBlocksNobody"}, ""},
		{"compaction deletes records", func(b *broken) { b.compactEats = true },
			[]string{"CompactKeepsRecords"}, ""},
		{"compaction does nothing", func(b *broken) { b.noCompact = true },
			[]string{"CompactedWatchFailsAtOnce", "CompactedPageFails"}, ""},
		{"deletion tells the old value", func(b *broken) {
			b.next = eachEvent(func(e *store.Event) {
				if e.Deleted {
					e.Value = []byte("old")
				}
			})
		},
			[]string{"WatchTellsWhatHappened"}, "Should be empty"},
		{"deletion tells no revision", func(b *broken) {
			b.next = eachEvent(func(e *store.Event) {
				if e.Deleted {
					e.Mod--
				}
			})
		},
			[]string{"LeaseEndsNeverEarlyInOneTransaction", "WatchTellsWhatHappened"}, ""},
		{"progress is reported too seldom", func(b *broken) { b.next = seldom },
			[]string{"WatchReportsProgress"}, "a watcher stays silent"},
		{"progress is reported before its batch", func(b *broken) { b.next = markFirst },
			[]string{"WatchSeesEverythingWholeInOrderOnce"}, "nothing else happened up to"},
		{"Next loses a batch when given up while it waits", func(b *broken) { b.next = waitsOn },
			[]string{"NextGivenUpLosesNothing"}, "the next batch does not come"},
		{"closed watcher hands out what it has", func(b *broken) { handsOutLeftovers(b) },
			[]string{"ClosedWatcherEnds", "CloseEndsEverything"}, ""},
		{"watcher never learns of Close", func(b *broken) { b.next = neverClosed },
			[]string{"FollowTellsAllUntilTheEnd"}, "store is closed"},
		{"the first change is not told", func(b *broken) { b.after = 1 },
			[]string{"FollowTellsAllUntilTheEnd"}, "nothing is told"},
		{"slow watcher is told another place", func(b *broken) { b.next = slowLater },
			[]string{"SlowWatcherBlocksNobody"}, "where it lost its place"},
		{"slow watcher is told again and again", func(b *broken) { b.next = slowAgainAndAgain },
			[]string{"SlowWatcherBlocksNobody"}, "after SlowError"},
		{"slow watcher holds up writers", func(b *broken) { slowReaderHoldsUpWriters(b) },
			[]string{"SlowWatcherBlocksNobody"}, "context deadline exceeded"},
		{"waiting watcher holds up writers", func(b *broken) { nextHoldsUpWriters(b) },
			[]string{"MethodsMayBeCalledTogether"}, "context deadline exceeded"},
		{"compaction of what was forgotten fails", func(b *broken) { b.compact = compactsOnce },
			[]string{"CompactedWatchFailsAtOnce"}, "what was forgotten before"},
		{"compaction of the future is accepted", func(b *broken) { b.compact = compactsTheFuture },
			[]string{"NonsenseIsRefused"}, ""},
	}
}

// leaseMutants break leases.
func leaseMutants() []mutant {
	return []mutant{
		{"lease ends early", func(b *broken) { b.lease = endsEarly },
			[]string{"LeaseEndsNeverEarlyInOneTransaction"}, "the lease ended "},
		{"lease is not renewed", func(b *broken) { b.lease = notRenewed },
			[]string{"LeaseIsRenewed"}, ""},
		{"lease never ends", func(b *broken) { b.lease = neverEnds },
			[]string{"LeaseEndsNeverEarlyInOneTransaction", "OldLeaderIsFenced"}, ""},
		{"lease deadline is too late", func(b *broken) { b.alter = func(l *brokenLease) { l.late = time.Hour } },
			[]string{"LeaseEndsNeverEarlyInOneTransaction"}, ""},
		{"lease deadline is too early", func(b *broken) { b.alter = func(l *brokenLease) { l.late = -time.Hour } },
			[]string{"LeaseEndsNeverEarlyInOneTransaction"}, ""},
		{"revoke does nothing", func(b *broken) { b.alter = func(l *brokenLease) { l.noRevoke = always } },
			[]string{"RevokeDeletesAtOnce", "EndedLeaseIsRefused", "CampaignHasOneLeaderAtATime"}, ""},
		{"ended lease is accepted", func(b *broken) { b.anyLease = true },
			[]string{"EndedLeaseIsRefused"}, ""},
		{"leases do not bind", func(b *broken) { b.txn = withoutLeases },
			[]string{"RevokeDeletesAtOnce", "LeaseEndsOnceTooWithManyKeys", "RecordsLeaveTheirLease"}, ""},
		{"lease is shorter than asked for", func(b *broken) { b.lease = shorter },
			[]string{"LeasesAreDistinct", "LeaseIsRenewed"}, "is not greater than or equal to"},
		{"lease without time is granted", func(b *broken) { b.lease = anyTTL },
			[]string{"NonsenseIsRefused"}, ""},
		{"leases share an id", func(b *broken) { b.alter = func(l *brokenLease) { l.id = 1 } },
			[]string{"LeasesAreDistinct"}, ""},
		{"lease never says that it is done", func(b *broken) { b.alter = func(l *brokenLease) { l.noDone = true } },
			[]string{"RevokeDeletesAtOnce", "LeaseEndsNeverEarlyInOneTransaction", "FailedRevokeEndsByItself"}, "Done is not closed after Revoke"},
		{"keys of a lease end one by one", func(b *broken) { b.alter = func(l *brokenLease) { l.before = l.keysOneByOne } },
			[]string{"LeaseEndsOnceTooWithManyKeys"}, "180"},
		{"failed revoke leaves a lease alive", func(b *broken) { b.alter = func(l *brokenLease) { l.noRevoke = ended } },
			[]string{"FailedRevokeEndsByItself"}, "the next batch does not come"},
		{"events do not tell the lease", func(b *broken) { b.next = eachEvent(func(e *store.Event) { e.Lease = 0 }) },
			[]string{"RecordsTellTheirLease"}, ""},
		{"records never leave their lease", func(b *broken) { b.apply = eachTxn(keepsLeases) },
			[]string{"RecordsLeaveTheirLease", "RecordsTellTheirLease"}, ""},
	}
}

func always(context.Context) bool    { return true }
func ended(ctx context.Context) bool { return ctx.Err() != nil }

// raised raises the generation with each call.
func raised() func(store.ID) store.ID {
	var n int64
	return func(id store.ID) store.ID {
		n++
		id.Generation = n
		return id
	}
}

func secondGeneration(id store.ID) store.ID {
	id.Generation++
	return id
}

func alwaysMore(p *store.Page, o store.ReadOptions) {
	p.More = p.More || o.Limit > 0 && len(p.KVs) == o.Limit
}
