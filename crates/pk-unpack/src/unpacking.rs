//! The steps, and what they share.

use crate::archive::{Archive, Stream};
use crate::equivalent::{TAR, shell_applying};
use crate::image::Layer;
use crate::inode::Lost;
use crate::interrupt;
use crate::limits::Limits;
use crate::partial::{Partial, Place, Target};
use crate::rootfs;
use crate::stream::Layers;
use crate::tree::Tree;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use pk::{Error, Steps, quote};
use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;

/// The partial directory in shell, which ends there if it has no name: whiteouts delete.
const PARTIAL: &str = "\"${d:?}\"";

/// A tree in its partial directory, as long as the steps run.
pub struct Unpacking {
    pub tree: Tree,
    pub partial: Partial,
    /// The digest of a tar that is made while it is read.
    pub digest: Option<String>,
}

/// Before the layers: a place for the tree.
pub fn add_begin(steps: &mut Steps<Option<Unpacking>>, target: &Target, limits: Limits) {
    let (pattern, prefix) = (target.pattern(), quote(target.parent.join(target.prefix())));
    let (leftovers, target) = (target.clone(), target.clone());
    steps.add(
        "runs that were killed left these; one that lives holds the lock of its own",
        format!("flock({pattern:?}, LOCK_EX|LOCK_NB), unlinkat()"),
        format!(
            "for d in {prefix}??????; do [ ! -d \"$d\" ] || flock -n \"$d\" rm -rf \"$d\"; done"
        ),
        move |_| leftovers.remove_leftovers(),
    );
    steps.add(
        "all is made beside DIR and renamed at the end, so that DIR is whole or absent",
        format!("mkdir({pattern:?}, 0700), flock(LOCK_EX)"),
        format!("d=$(mktemp -d {prefix}XXXXXX) && chmod 755 {PARTIAL}"),
        move |state| {
            let place = Place::default();
            interrupt::watch(&place)?;
            let partial = Partial::create(&target, place)?;
            let tree = Tree::new(partial.as_fd())?.limited(limits);
            *state = Some(Unpacking { tree, partial, digest: None });
            Ok::<_, Error>(())
        },
    );
}

/// A plain root filesystem instead of layers.
pub fn add_rootfs(steps: &mut Steps<Option<Unpacking>>, stream: Stream) {
    steps.add(
        "one tar that begins as a root filesystem does, in one pass",
        format!("{}: openat2(RESOLVE_IN_ROOT), openat(O_CREAT|O_EXCL), write(), …", stream.name),
        format!("{} | {TAR} -xpC {PARTIAL}", stream.command),
        move |state| {
            let Unpacking { tree, partial, digest } = begun(state);
            *digest = Some(rootfs::apply(tree, partial, stream)?);
            Ok::<_, Error>(())
        },
    );
    add_directories(steps, ProgressBar::hidden());
}

/// The layers of an image.
pub fn add_layers(steps: &mut Steps<Option<Unpacking>>, archive: &Archive, layers: Vec<Layer>) {
    let bar = progress_bar(layers.iter().map(|layer| layer.blob.size()).sum());
    let reading = Rc::new(RefCell::new(Layers::new(layers.iter().cloned(), bar.clone())));
    for layer in layers {
        let (name, reading) = (layer.name(), Rc::clone(&reading));
        let tar = format!("{}{}", archive.command(&layer.path), layer.compression.command());
        steps.add(
            "the lowest layer first; what its .wh. files name is hidden in the ones below it",
            format!(
                "{name}: openat2(RESOLVE_IN_ROOT), openat(O_CREAT|O_EXCL), write(), fchown(), …"
            ),
            shell_applying(&tar, PARTIAL),
            move |state| {
                let tree = &mut begun(state).tree;
                reading.borrow_mut().next()?.apply(|tar| tree.apply(&name, tar))?;
                Ok::<_, Error>(())
            },
        );
    }
    add_directories(steps, bar);
}

fn add_directories(steps: &mut Steps<Option<Unpacking>>, bar: ProgressBar) {
    steps.add(
        "directories last: they had to stay writable, and files made in them set their times",
        "fchown(), fchmod(), fsetxattr(), futimens() of each directory",
        ": # tar does this at its end too",
        move |state| {
            bar.finish_and_clear();
            begun(state).tree.finish()
        },
    );
}

/// After the layers: the tree becomes DIR, and what there is to say is said.
///
/// The digest is that of the image, or of the tar that a command prints.
pub fn add_end(
    steps: &mut Steps<Option<Unpacking>>,
    target: Target,
    digest: Result<String, String>,
) {
    let (from, to) = (target.pattern(), target.path());
    steps.add(
        "all is there, and all digests are as the image states them",
        format!("rename({from:?}, {to:?})"),
        format!("mv -T {PARTIAL} {}", quote(&to)),
        move |state| begun(state).partial.rename(&target.path()),
    );
    let shown = digest.clone().unwrap_or("sha256:…".to_owned());
    let shell = match &digest {
        Ok(digest) => format!("echo {digest}"),
        Err(command) => format!("echo \"sha256:$({command} | sha256sum | cut -d ' ' -f 1)\""),
    };
    steps.add(
        "the digest of the manifest, or of the config where there is none, or of a lone tar",
        format!("write(1, \"{shown}\\n\")"),
        shell,
        move |state| {
            let digest = digest.ok().or(begun(state).digest.take()).unwrap_or_default();
            print(format!("{digest}\n").as_bytes())
        },
    );
    steps.add(
        "what the caller has no right to keep, or the filesystem no means, is told in one line",
        "write(2)",
        ": # tar tells each one",
        |state| tell(begun(state).tree.lost()),
    );
}

/// Writes the answer to standard output. That of the standard library takes one that was closed
/// for a success.
pub fn print(answer: &[u8]) -> io::Result<()> {
    File::from(io::stdout().as_fd().try_clone_to_owned()?).write_all(answer)
}

/// Says what could not be kept.
pub fn tell(lost: &Lost) -> io::Result<()> {
    let line = format!("pk-unpack: {lost}\n");
    if lost.is_nothing() { Ok(()) } else { io::stderr().write_all(line.as_bytes()) }
}

fn begun(state: &mut Option<Unpacking>) -> &mut Unpacking {
    state.as_mut().expect("the steps that need it come after the one that makes it")
}

/// Counts bytes of the layers as they lie in the archive. It is seen on a terminal only.
pub fn progress_bar(size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {binary_bytes}/{binary_total_bytes} {eta}");
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
    bar.with_style(style.expect("a constant")).with_finish(ProgressFinish::AndClear)
}

/// The image's config, for who asked for it.
pub fn add_config(
    steps: &mut Steps<Option<Unpacking>>,
    file: Option<PathBuf>,
    config: Vec<u8>,
    source: &str,
) {
    let Some(file) = file else { return };
    steps.add(
        "what the image says of its program: pk-chroot-exec --config takes it",
        format!("open({file:?}, O_WRONLY|O_CREAT|O_TRUNC)"),
        format!("{source} > {}", quote(&file)),
        move |_| fs::write(&file, &config),
    );
}
