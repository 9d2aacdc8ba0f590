//! pk-unpack [OPTION...] IMAGE DIR: turns an image archive into a root filesystem.
//!
//! First the image's documents are read and checked, down to a list of layers. The steps then
//! apply these, the lowest first, in a directory beside DIR that is renamed at the end.
#![cfg_attr(not(test), no_main)]

mod archive;
mod compression;
mod digest;
mod docker;
mod entry;
mod image;
mod inode;
mod interrupt;
mod oci;
mod partial;
mod pax;
mod platform;
mod removal;
mod root;
mod sparse;
mod stream;
mod tree;
mod whiteout;

use archive::{Archive, Source};
use argh::{ArgsInfo, FromArgs};
use image::{Image, Layer, Wanted};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use partial::{Partial, Place, Target};
use pk::{Attempt, Error, Result, Steps, quote};
use platform::Platform;
use rustix::fs::Mode;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use tree::Tree;

const TOOL: pk::Tool = pk::Tool {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    operands: "IMAGE DIR",
    kind: pk::Kind::Plain,
    notes: "\
IMAGE is what docker save writes, or an OCI image layout, as a directory or a tar; - is standard
input. DIR must not exist, or be an empty directory: it is whole in the end, or not there.
The digest of the image's manifest is printed; an old archive has none, and gives the image's id.

  docker save alpine | pk-unpack - rootfs
  pk-unpack --platform linux/arm64 image.oci rootfs",
};
pk::main!(TOOL, steps);

/// Turn an image archive into a root filesystem.
#[derive(FromArgs, ArgsInfo)]
struct Options {
    /// which image, where the archive holds several
    #[argh(option, arg_name = "NAME")]
    tag: Option<String>,
    /// which image of an index; this machine's if not said (docker: --platform)
    #[argh(option, arg_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// also write the image's config, as it is, to FILE
    #[argh(option, arg_name = "FILE")]
    config: Option<PathBuf>,
}

/// What the steps share, once the first one has made it.
struct Unpacking {
    tree: Tree,
    partial: Partial,
}

fn steps(options: Options, operands: Vec<OsString>) -> Result<Steps<Option<Unpacking>>> {
    let [source, directory] = <[OsString; 2]>::try_from(operands)
        .map_err(|given| Error::usage("IMAGE DIR", format!("{} operands given", given.len())))?;
    let target = Target::check(&directory)?;
    if let Some(file) = &options.config {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::read_dir(parent).attempt(format_args!("open({parent:?})"))?;
    }
    let archive = match Source::open(&source)? {
        Source::Archive(archive) => archive,
        Source::Stream(stream, name) => Archive::spool(stream, name, &target.parent)?,
    };
    let wanted = Wanted { tag: options.tag, platform: options.platform };
    let image = Image::find(&archive, &wanted)?;

    let mut steps = Steps::new(None);
    add_begin(&mut steps, &target);
    add_layers(&mut steps, &archive, image.layers, &target);
    if let Some(file) = options.config {
        steps.add(
            "what the image says of its program: pk-chroot-exec --config takes it",
            format!("open({file:?}, O_WRONLY|O_CREAT|O_TRUNC)"),
            format!("{} > {}", archive.command(&image.config_path), quote(&file)),
            move |_| fs::write(&file, &image.config),
        );
    }
    add_end(&mut steps, target, image.digest);
    Ok(steps)
}

fn add_begin(steps: &mut Steps<Option<Unpacking>>, target: &Target) {
    let pattern = target.pattern();
    let (leftovers, target) = (target.clone(), target.clone());
    steps.add(
        "runs that were killed left these; the lock of one that lives is held",
        format!("flock({pattern:?}, LOCK_EX|LOCK_NB), unlinkat()"),
        format!("for d in {0}; do flock -n \"$d\" rm -rf \"$d\"; done", pattern.display()),
        move |_| leftovers.remove_leftovers(),
    );
    steps.add(
        "all is made beside DIR and renamed at the end, so that DIR is whole or absent",
        format!("mkdir({pattern:?}, 0700), flock(LOCK_EX), umask(0)"),
        format!("umask 0; mktemp -d {}", pattern.display().to_string().replace('?', "X")),
        move |state| {
            let place = Place::default();
            interrupt::watch(&place)?;
            rustix::process::umask(Mode::empty());
            let partial = Partial::create(&target, place)?;
            let tree = Tree::new(partial.as_fd())?;
            *state = Some(Unpacking { tree, partial });
            Ok::<_, Error>(())
        },
    );
}

fn add_layers(
    steps: &mut Steps<Option<Unpacking>>,
    archive: &Archive,
    layers: Vec<Layer>,
    target: &Target,
) {
    let bar = progress_bar(layers.iter().map(|layer| layer.blob.size()).sum());
    for layer in layers {
        let (name, bar) = (layer.name(), bar.clone());
        let tar = format!("{}{}", archive.command(&layer.path), layer.compression.command());
        let partial = target.pattern();
        steps.add(
            "the lowest layer first; what its .wh. files name is hidden in the ones below it",
            format!(
                "{name}: openat2(RESOLVE_IN_ROOT), openat(O_CREAT|O_EXCL), write(), fchown(), …"
            ),
            format!("{tar} | tar --xattrs-include=* --numeric-owner -xpC {}", partial.display()),
            move |state| {
                let tree = &mut begun(state).tree;
                stream::read(&layer, |count| bar.inc(count), |tar| tree.apply(&name, tar))
            },
        );
    }
    steps.add(
        "directories last: until now they had to be writable, and files made in them set their times",
        "fchown(), fchmod(), fsetxattr(), futimens() of each directory",
        "tar does this at its end too",
        move |state| {
            bar.finish_and_clear();
            let lost = begun(state).tree.finish()?;
            let line = format!("{}: {lost}\n", TOOL.name);
            let told = if lost.is_nothing() { "" } else { &line };
            io::stderr().write_all(told.as_bytes()).attempt("write(2)")
        },
    );
}

fn add_end(steps: &mut Steps<Option<Unpacking>>, target: Target, digest: String) {
    let (from, to) = (target.pattern(), target.path());
    steps.add(
        "now that all is there and all digests were right",
        format!("rename({from:?}, {to:?})"),
        format!("mv -T {} {}", from.display(), quote(&to)),
        move |state| begun(state).partial.rename(&target),
    );
    steps.add(
        "the digest of the manifest, or of the config where there is none",
        format!("write(1, \"{digest}\\n\")"),
        format!("echo {digest}"),
        move |_| io::stdout().write_all(format!("{digest}\n").as_bytes()),
    );
}

fn begun(state: &mut Option<Unpacking>) -> &mut Unpacking {
    state.as_mut().expect("the steps that need it come after the one that makes it")
}

/// Counts bytes of the layers as they lie in the archive. It is seen on a terminal only.
fn progress_bar(size: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {binary_bytes}/{binary_total_bytes} {eta}");
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
    bar.with_style(style.expect("a constant")).with_finish(ProgressFinish::AndClear)
}
