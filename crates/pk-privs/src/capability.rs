//! Capabilities by name, and those that a container is left. `capabilities(7)`.

use rustix::thread::CapabilitySet;

/// The 14 that Docker leaves a container.
const DOCKER: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// Docker lets a container make the disk's device file, and its device cgroup stops who opens it.
/// There is none here, so that the file cannot be made either; Podman leaves this one out too.
pub const DEFAULT: CapabilitySet = DOCKER.difference(CapabilitySet::MKNOD);

/// A capability by its name, with or without `CAP_`, in upper or lower case.
pub fn named(name: &str) -> Option<CapabilitySet> {
    let name = name.to_ascii_uppercase();
    CapabilitySet::from_name(name.strip_prefix("CAP_").unwrap_or(&name))
}
