//! Which system calls PROG may make: a profile is read, compiled and handed to the kernel.

use crate::capabilities::is_effective;
use crate::filter::compile;
use crate::profile::{Circumstances, Profile};
use crate::sys;
use libc::sock_filter;
use nix::errno::Errno;
use pk::{Attempt, Error, Result, Steps};
use rustix::thread::CapabilitySet;
use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;

/// The profile that is part of this program.
const DEFAULT: &str = include_str!("default.json");

/// A profile that is larger is none.
const LIMIT: u64 = 4 << 20;

/// `default` or a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Default,
    File(PathBuf),
}

/// A profile, compiled for this machine.
pub struct Filter {
    instructions: Vec<sock_filter>,
    flags: u32,
    source: Source,
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "default" { Self::Default } else { Self::File(text.into()) })
    }
}

impl Source {
    /// Compiles the profile for a PROG with this bounding set.
    pub fn compile(self, bounding: CapabilitySet) -> Result<Filter> {
        let text;
        let (option, text) = match &self {
            Self::Default => ("--seccomp default".to_owned(), DEFAULT),
            Self::File(path) => {
                let mut read = String::new();
                File::open(path)
                    .and_then(|file| file.take(LIMIT).read_to_string(&mut read))
                    .attempt(format_args!("open({path:?})"))?;
                text = read;
                (format!("--seccomp {path:?}"), text.as_str())
            }
        };
        let profile = Profile::parse(text, &Circumstances::of(bounding))
            .map_err(|reason| Error::new(&option, reason))?;
        let instructions = compile(&profile);
        if instructions.len() > 4096 {
            let reason =
                format!("becomes {} instructions, the kernel takes 4096", instructions.len());
            return Err(Error::new(option, reason));
        }
        Ok(Filter { instructions, flags: profile.flags, source: self })
    }
}

impl Filter {
    pub fn add_step(self, why: &'static str, steps: &mut Steps) {
        let Self { mut instructions, flags, source } = self;
        let name = match source {
            Source::Default => "default".into(),
            Source::File(path) => path,
        };
        let length = instructions.len();
        steps.add(
            why,
            format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {{len = {length}, filter = {name:?}}})"),
            ": # no command compiles such a profile; setpriv --seccomp-filter takes a compiled one, from util-linux 2.41 on",
            move |()| {
                sys::load_filter(&mut instructions, flags).map_err(|errno| {
                    let refused = errno == Errno::EACCES && !is_effective(CapabilitySet::SYS_ADMIN);
                    let hint = "without CAP_SYS_ADMIN a filter needs --no-new-privs: a setuid program could be misled by it";
                    Error::from(errno).hint(refused.then(|| hint.to_owned()))
                })
            },
        );
    }
}
