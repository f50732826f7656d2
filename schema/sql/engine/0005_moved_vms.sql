-- VMs that somebody else moved away from this host, to where no host has listed them yet.
ALTER TABLE hosts ADD COLUMN moved_vms TEXT NOT NULL DEFAULT '';
