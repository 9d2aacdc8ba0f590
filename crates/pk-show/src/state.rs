//! The state of a process: all that is said of it, in the words of `schema.json`.

use crate::answer::Answer;
use crate::capabilities::Capabilities;
use crate::cgroup::Cgroups;
use crate::descriptors::Descriptors;
use crate::devices::Devices;
use crate::fact::{Fact, Topic};
use crate::hostname;
use crate::limits::Limits;
use crate::mounts::Mounts;
use crate::namespaces::Namespaces;
use crate::privileges::Privileges;
use crate::process::Identity;
use crate::root::Root;
use crate::user::{Maps, User};
use pk::{Attempt, Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The version of `schema.json`: a program that reads what another one saved knows what to expect.
pub const FORMAT: u32 = 1;

#[derive(Debug, Default, Deserialize, Serialize)]
pub struct State {
    pub format: u32,
    pub process: Identity,
    pub hostname: Answer<String>,
    pub namespaces: Namespaces,
    pub root: Answer<Root>,
    pub directory: Answer<String>,
    pub mounts: Mounts,
    pub user: User,
    pub id_maps: Maps,
    pub capabilities: Capabilities,
    pub privileges: Privileges,
    pub cgroups: Cgroups,
    pub devices: Devices,
    pub descriptors: Descriptors,
    pub limits: Limits,
}

impl State {
    /// One that was saved; `-` is standard input.
    pub fn load(file: &Path) -> Result<Self> {
        let mut text = Vec::new();
        if file == Path::new("-") {
            std::io::stdin().read_to_end(&mut text).attempt("read(0)")?;
        } else {
            let read = File::open(file).and_then(|mut file| file.read_to_end(&mut text));
            read.attempt(format_args!("open({file:?})"))?;
        }
        let wrong = |reason: String| Error::new(file.display(), reason);
        let state: Self = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("is not what --save writes: {error}")))?;
        if state.format != FORMAT {
            return Err(wrong(format!("is of format {}, and this is {FORMAT}", state.format)));
        }
        Ok(state)
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("keys are text") + "\n"
    }

    /// Line by line.
    pub fn facts(&self) -> Vec<Fact> {
        let mut facts = self.process.facts();
        facts.extend(hostname::facts(&self.hostname));
        facts.extend(self.namespaces.facts());
        facts.extend(self.root.facts());
        facts.push(Fact::of(Topic::Directory, "", self.directory.as_ref(), String::clone));
        facts.extend(self.mounts.facts());
        facts.extend(self.user.facts());
        facts.extend(self.id_maps.facts());
        facts.extend(self.capabilities.facts());
        facts.extend(self.privileges.facts());
        facts.extend(self.cgroups.facts());
        facts.extend(self.devices.facts());
        facts.extend(self.descriptors.facts());
        facts.extend(self.limits.facts());
        facts
    }
}
