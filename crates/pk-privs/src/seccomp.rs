//! Which system calls PROG may make: a profile is read, compiled and handed to the kernel.

use crate::capabilities::is_effective;
use crate::capability;
use crate::filter::compile;
use crate::profile::{Circumstances, Profile};
use crate::sys;
use libc::sock_filter;
use nix::errno::Errno;
use pk::{Attempt, Error, Result, Steps};
use rustix::thread::CapabilitySet;
use std::borrow::Cow;
use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::str::FromStr;

/// The profile that is part of this program.
const DEFAULT: &str = include_str!("default.json");

/// The same, compiled for the capabilities of `--standard` when this program was built. None, if
/// that was on a machine of another architecture.
const STANDARD: Option<&[sock_filter]> = include!(concat!(env!("OUT_DIR"), "/standard.rs"));

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
    instructions: Cow<'static, [sock_filter]>,
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
        if let (Self::Default, capability::DEFAULT, Some(standard)) = (&self, bounding, STANDARD) {
            return Ok(Filter { instructions: standard.into(), flags: 0, source: self });
        }
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
        Ok(Filter { instructions: instructions.into(), flags: profile.flags, source: self })
    }
}

impl Filter {
    pub fn add_step(self, why: &'static str, steps: &mut Steps) {
        let Self { instructions, flags, source } = self;
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
                sys::load_filter(&instructions, flags).map_err(|errno| {
                    let refused = errno == Errno::EACCES && !is_effective(CapabilitySet::SYS_ADMIN);
                    let hint = "without CAP_SYS_ADMIN a filter needs --no-new-privs: a setuid program could be misled by it";
                    Error::from(errno).hint(refused.then(|| hint.to_owned()))
                })
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compiled_before_is_what_the_profile_says() {
        let Some(standard) = STANDARD else { return };
        let fields = |one: &sock_filter| (one.code, one.jt, one.jf, one.k);
        let standard: Vec<_> = standard.iter().map(fields).collect();
        // The oldest kernel that pk runs on, and one that is to come.
        for kernel in [(5, 12), (9, 0)] {
            let here = Circumstances { capabilities: capability::DEFAULT, kernel };
            let now = compile(&Profile::parse(DEFAULT, &here).unwrap());
            assert_eq!(now.iter().map(fields).collect::<Vec<_>>(), standard, "{kernel:?}");
        }
    }
}
