//! pk-chroot-exec [OPTION...] ROOT [PROG [ARG...]]: make ROOT the root, become PROG.
//!
//! The story of `pivot_root(2)`: ROOT, a mount, becomes the root of the mount namespace; the old
//! root is left lying on top of it, and is taken off. After that nothing of the host has a name,
//! and what has no name could still be reached through descriptors, so they are closed.
#![cfg_attr(not(test), no_main)]

mod config;
mod descriptors;
mod environment;
mod pivot;
mod terminal;
mod user;

use argh::{ArgsInfo, FromArgs};
use config::ImageConfig;
use environment::Environment;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, fchdir, geteuid};
use pk::{Accounts, Attempt, Error, Prog, Result, Steps, quote};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use user::Identity;

const TOOL: pk::Tool = pk::Tool {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    operands: "ROOT [PROG [ARG...]]",
    kind: pk::Kind::Chain,
    words: &[],
    notes: "\
The switch is made in a mount namespace of its own. Without PROG, --config says what to run.",
    examples: &[
        ("pk-chroot-exec rootfs sh", "a shell that sees nothing of the host but its processes"),
        (
            "pk-ns --mount --pid pk-mounts --standard rootfs pk-chroot-exec --config config.json rootfs",
            "run what the image says",
        ),
    ],
    see_also: "chroot(1), pivot_root(2), chroot(2), pk-mounts(1), pk-pty(1)",
};
pk::main!(TOOL, steps);

/// Make ROOT the root, drop what leaks, become PROG.
// What the help prints is not Markdown.
#[allow(clippy::doc_markdown)]
#[derive(FromArgs, ArgsInfo)]
struct Options {
    /// plain chroot(2) instead of pivot_root(2): not a boundary, root walks out of it
    #[argh(switch)]
    chroot: bool,
    /// the working directory, inside ROOT (docker: --workdir)
    #[argh(option, short = 'w', arg_name = "PATH")]
    workdir: Option<PathBuf>,
    /// run as this user, and group, by name or number; names are those of ROOT's /etc/passwd and
    /// /etc/group, which also give the supplementary groups (docker: --user)
    #[argh(option, short = 'u', arg_name = "USER[:GROUP]")]
    user: Option<String>,
    /// set a variable; without a value, keep the caller's (repeatable; docker: --env)
    #[argh(option, short = 'e', arg_name = "VARIABLE[=VALUE]")]
    env: Vec<String>,
    /// do not pass on the caller's environment; PATH, HOME, HOSTNAME and, on a terminal, TERM are
    /// set as Docker sets them
    #[argh(switch)]
    clear_env: bool,
    /// an image's config: its Env (as with --clear-env), WorkingDir, User, and Entrypoint and Cmd
    /// when no PROG is given
    #[argh(option, arg_name = "FILE")]
    config: Option<PathBuf>,
    /// a session and a terminal of ROOT's own devpts; needs pk-pty as the first link (docker: --tty)
    #[argh(switch)]
    terminal: bool,
    /// a session of its own without a terminal, so that PROG cannot type into the caller's
    #[argh(switch)]
    new_session: bool,
    /// leave descriptor N open for PROG; all others above 2 are closed (repeatable)
    #[argh(option, arg_name = "N")]
    keep_fd: Vec<u32>,
}

fn steps(options: Options, mut operands: Vec<OsString>) -> Result<Steps> {
    if operands.is_empty() {
        return Err(
            Error::usage("ROOT", "missing operand").hint("--help shows the operands".to_owned())
        );
    }
    let path = PathBuf::from(operands.remove(0));
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root =
        open(&path, flags, Mode::empty()).attempt(format_args!("open({path:?}, O_DIRECTORY)"))?;
    let config = options.config.as_deref().map(ImageConfig::read).transpose()?;
    let clear = options.clear_env || config.is_some();
    let config = config.unwrap_or_default();
    if operands.is_empty() {
        operands.clone_from(&config.command);
    }
    descriptors::check_open(&options.keep_fd)?;

    let user = options.user.or(config.user);
    let accounts =
        if user.is_some() || clear { Accounts::read(&root)? } else { Accounts::default() };
    let identity = user.as_deref().map(|user| Identity::find(user, &accounts)).transpose();
    let home = identity.as_ref().ok().and_then(|identity| Some(identity.as_ref()?.home.clone()));
    let environment = if clear {
        let home = home.unwrap_or_else(|| accounts.user_of(geteuid().as_raw()).home);
        Environment::of_image(home, config.variables, options.terminal)
    } else {
        Environment::inherited(home)
    };
    let environment = environment.with(&options.env)?;
    // A directory that does not begin at / begins there all the same: where else?
    let directory =
        options.workdir.or(config.directory).map(|directory| Path::new("/").join(directory));
    let inside = directory.as_deref().unwrap_or(Path::new("/"));
    let prog = Prog::find_inside(&root, inside, operands, environment.path())?;

    let mut steps = Steps::new(());
    let shown = quote(&path);
    if options.chroot {
        steps.add(
            "only where names begin to be looked up changes: not a boundary",
            format!("chroot({path:?}), chdir(\"/\")"),
            format!("exec chroot {shown} sh"),
            move |()| {
                let entered = chroot(&path).and_then(|()| chdir("/"));
                entered.map_err(|errno| Error::from(errno).hint(pk::not_root(Some(errno))))
            },
        );
    } else if pivot::is_root(&root)? {
        if directory.is_none() {
            pivot::add_stay(&mut steps);
        }
    } else {
        pivot::add_steps(root, &shown, &mut steps)?;
    }
    if let Some(directory) = directory {
        steps.add(
            "after the switch, so that it lies inside; not by /proc/self/fd, which leads outside",
            format!("fchdir(openat2({directory:?}, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS))"),
            format!("cd {}", quote(&directory)),
            move |()| change_directory(&directory),
        );
    }
    if options.terminal {
        let owner = identity.as_ref().ok().and_then(|identity| Some(identity.as_ref()?.uid));
        terminal::add_terminal(owner, &mut steps);
    } else if options.new_session {
        terminal::add_session(&mut steps);
    }
    descriptors::add_close(options.keep_fd, &mut steps);
    match identity {
        Ok(Some(identity)) => identity.add_step(&mut steps),
        Ok(None) => {}
        // Explained, ROOT may not have been put together yet.
        Err(unknown) => steps.check(|()| Err(unknown)),
    }
    steps.exec(prog.with_environment(environment.into_variables()));
    Ok(steps)
}

/// A working directory that an image names may not be one of our descriptors (CVE-2024-21626).
fn change_directory(directory: &Path) -> Result<()> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let root = open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(fchdir(openat2(root, directory, how)?)?)
}
