//! pk-privs [OPTION...] PROG [ARG...]: give up privileges, then become PROG.
//!
//! Each step may need what a later one takes away, so the order is that of runc: limits first,
//! because only `CAP_SYS_RESOURCE` raises them; a filter that `CAP_SYS_ADMIN` pays for; the bounding
//! set, for which it takes `CAP_SETPCAP`; the user; the other capabilities; and last a filter that
//! `no_new_privs` pays for, so that it has to allow hardly more than the exec.
#![cfg_attr(not(test), no_main)]

mod abi;
mod capabilities;
mod capability;
mod condition;
mod filter;
mod profile;
mod program;
mod rlimit;
mod seccomp;
mod securebits;
mod sys;
mod user;

use argh::{ArgsInfo, FromArgs};
use capabilities::{Capabilities, Choice, Names};
use pk::{Error, Prog, Result, Steps};
use rlimit::Limit;
use rustix::thread::{CapabilitySet, no_new_privs, set_no_new_privs};
use seccomp::Source;
use securebits::Securebits;
use std::ffi::OsString;
use user::User;

const TOOL: pk::Tool = pk::Tool {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    operands: "PROG [ARG...]",
    kind: pk::Kind::Chain,
    words: &[
        ("CAPABILITY", capabilities::names),
        ("SECUREBIT", securebits::names),
        ("RESOURCE", rlimit::names),
    ],
    notes: "\
Capabilities are named as in capabilities(7), with or without CAP_. Files are those of the root that
pk-privs runs in: after pk-chroot-exec, the container's.",
    examples: &[
        ("pk-privs --standard sh", "much as in a container of Docker"),
        (
            "pk-privs --caps none,+NET_BIND_SERVICE --ambient NET_BIND_SERVICE --user www-data nginx",
            "a server that may do one thing that root may",
        ),
        (
            "pk-privs --no-new-privs --seccomp default --rlimit nofile=1024 sh",
            "as an ordinary user",
        ),
    ],
    see_also: "setpriv(1), prlimit(1), capsh(1), capabilities(7), credentials(7), seccomp(2)",
};
pk::main!(TOOL, steps);

/// Give up privileges, then become PROG.
// What the help prints is not Markdown.
#[allow(clippy::doc_markdown)]
#[derive(FromArgs, ArgsInfo)]
struct Options {
    /// much as Docker does: --caps default and --seccomp default, unless they are given; as with
    /// Docker, no_new_privs is not among it
    #[argh(switch)]
    standard: bool,
    /// capabilities that are kept; default is Docker's 14 but MKNOD, as in
    /// default,+NET_ADMIN,-CHOWN (docker: --cap-add, --cap-drop, --privileged)
    #[argh(option, arg_name = "default|none|all[,+CAPABILITY|,-CAPABILITY]...")]
    caps: Option<Choice>,
    /// of these, capabilities that PROG has even if it is not root
    #[argh(option, arg_name = "CAPABILITY,...")]
    ambient: Option<Names>,
    /// nothing that PROG executes gives it more than it has, setuid or not (docker:
    /// --security-opt no-new-privileges)
    #[argh(switch)]
    no_new_privs: bool,
    /// run as this user, group and other groups, by name or number (docker: --user, --group-add)
    #[argh(option, short = 'u', arg_name = "USER[:GROUP[,GROUP...]]")]
    user: Option<User>,
    /// a limit, as in nofile=1024:4096 or core=unlimited (repeatable; docker: --ulimit)
    #[argh(option, arg_name = "RESOURCE=SOFT[:HARD]")]
    rlimit: Vec<Limit>,
    /// what being root means: noroot, no_setuid_fixup, no_cap_ambient_raise, and each with _locked
    #[argh(option, arg_name = "SECUREBIT,...")]
    securebits: Option<Securebits>,
    /// allow only the system calls of a profile: default, or a file in the format that Docker and
    /// Podman take (docker: --security-opt seccomp=FILE)
    #[argh(option, arg_name = "default|FILE")]
    seccomp: Option<Source>,
}

fn steps(options: Options, operands: Vec<OsString>) -> Result<Steps> {
    let options = options.with_standard()?;
    let capabilities = Capabilities::settle(options.caps, options.ambient)?;
    let filter =
        options.seccomp.map(|source| source.compile(capabilities.bounding())).transpose()?;
    let prog = Prog::find(operands)?;
    let identity = options.user.map(|user| user.find()).transpose()?;

    let mut steps = Steps::new(());
    for limit in options.rlimit {
        limit.add_step(&mut steps);
    }
    if options.no_new_privs {
        steps.add(
            "from here on an exec gives nothing that was not there before",
            "prctl(PR_SET_NO_NEW_PRIVS, 1)",
            "exec setpriv --no-new-privs sh",
            |()| set_no_new_privs(true),
        );
    }
    let unprivileged = options.no_new_privs || no_new_privs()?;
    let (early, late) = if unprivileged { (None, filter) } else { (filter, None) };
    if let Some(filter) = early {
        filter.add_step(
            "without no_new_privs it takes CAP_SYS_ADMIN, which is about to go",
            &mut steps,
        );
    }
    let is_needed_later = identity.is_some() || options.securebits.is_some();
    capabilities.add_bounding_step(is_needed_later, &mut steps);
    if let Some(identity) = identity {
        let needs = capabilities.change() || options.securebits.is_some();
        let shell = match options.securebits {
            Some(_) => capabilities.kept(CapabilitySet::SETPCAP),
            None => capabilities.bounded(),
        };
        identity.add_step(needs, &shell, &mut steps);
    }
    if let Some(securebits) = options.securebits {
        securebits.add_step(&capabilities, &mut steps);
    }
    capabilities.add_step(&mut steps);
    if let Some(filter) = late {
        filter.add_step("last, so that it has to allow no more than the exec", &mut steps);
    }
    steps.exec(prog);
    Ok(steps)
}

impl Options {
    /// Completed by what `--standard` stands for.
    fn with_standard(mut self) -> Result<Self> {
        if self.standard {
            self.caps = self.caps.or(Some(Choice::standard()));
            self.seccomp = self.seccomp.or(Some(Source::Default));
        }
        let nothing = self.caps.is_none()
            && self.ambient.is_none()
            && !self.no_new_privs
            && self.user.is_none()
            && self.rlimit.is_empty()
            && self.securebits.is_none()
            && self.seccomp.is_none();
        if nothing {
            return Err(Error::usage("--caps, --user, …", "nothing is to be given up")
                .hint("--help lists the options; --standard is what Docker does".to_owned()));
        }
        Ok(self)
    }
}
