//! Options that would change something of the host's, contradict each other or mean nothing.

use crate::Options;
use crate::namespaces::Namespaces;
use pk::{Error, Result};

impl Options {
    /// What needs a namespace of its own, or a process to take it from.
    pub fn check_create(&self, chosen: Namespaces) -> Result<()> {
        let needs = |option: &str, given: bool, namespace: &str| {
            let wrong = given && !chosen.has(namespace);
            let needed = format!("needs --{namespace}");
            if wrong { Err(Error::usage(option, needed)) } else { Ok(()) }
        };
        needs("--hostname", self.hostname.is_some(), "uts")?;
        needs("--map-root", self.map_root, "user")?;
        needs("--map-auto", self.map_auto, "user")?;
        needs("--uid-map", !self.uid_map.is_empty(), "user")?;
        needs("--gid-map", !self.gid_map.is_empty(), "user")?;
        needs("--propagation", self.propagation.is_some(), "mount")?;
        needs("--monotonic", self.monotonic.is_some(), "time")?;
        needs("--boottime", self.boottime.is_some(), "time")?;
        let taken = self.credentials || self.environment || self.directory;
        let option = "--credentials, --environment, --directory";
        if taken { Err(Error::usage(option, "need --join")) } else { Ok(()) }
    }

    /// What is made by others cannot be set up anew.
    pub fn check_join(&self) -> Result<()> {
        let creates = self.hostname.is_some()
            || self.map_root
            || self.map_auto
            || !(self.uid_map.is_empty() && self.gid_map.is_empty())
            || self.propagation.is_some()
            || self.monotonic.or(self.boottime).is_some();
        let reason = "takes namespaces as they are: no maps, host name, propagation or offsets";
        if creates { Err(Error::usage("--join", reason)) } else { Ok(()) }
    }
}
