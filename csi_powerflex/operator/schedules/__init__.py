"""SnapshotSchedule: snapshots of claims by the clock, and the removal of old ones."""
