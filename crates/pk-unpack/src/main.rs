//! pk-unpack [OPTION...] IMAGE DIR: turns an image archive into a root filesystem.
//! pk-unpack [OPTION...] --store STORE IMAGE: or into layers for overlayfs, each once.
//!
//! First the image's documents are read and checked, down to a list of layers. The steps then
//! apply these, the lowest first, in a directory beside DIR that is renamed at the end; or each in
//! one of its own, which is renamed as soon as it is whole.
#![cfg_attr(not(test), no_main)]

mod archive;
mod blob;
mod compression;
mod copy_up;
mod digest;
mod docker;
mod entry;
mod equivalent;
mod held;
mod image;
mod inode;
mod interrupt;
mod limits;
mod lower;
mod merged;
mod metadata;
mod name;
mod oci;
mod partial;
mod pax;
mod platform;
mod removal;
mod root;
mod rootfs;
mod sparse;
mod store;
mod storing;
mod stream;
mod symlink;
mod tree;
mod unpacking;
mod whiteout;

use argh::{ArgsInfo, FromArgs};
use image::{Content, Wanted};
use limits::{Limits, Size};
use partial::Target;
use pk::{Attempt, Error, Result, Steps};
use platform::Platform;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use store::Store;
use storing::Storing;
use unpacking::Unpacking;

const TOOL: pk::Tool = pk::Tool {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    operands: "IMAGE DIR\n[OPTION...] --store STORE IMAGE",
    kind: pk::Kind::Plain,
    words: &[],
    notes: "\
IMAGE is what docker save writes, or an OCI image layout, as a directory or a tar, or one plain tar
of a root filesystem; - is standard input. Each may be compressed as a whole: gzip, zstd, xz, bzip2.
DIR must not exist, or be an empty directory: it is whole in the end, or not there.
The digest of the image's manifest is printed; an old archive has none, and gives the image's id; a
plain tar gives its own.

With --store it is the layers' paths, the topmost first: what pk-mounts --overlay takes.",
    examples: &[
        ("docker save alpine | pk-unpack - rootfs", "an image that Docker has"),
        ("docker export box | pk-unpack - rootfs", "a container as it is now"),
        ("pk-unpack --platform linux/arm64 image.oci rootfs", "one image out of several"),
        ("lower=$(pk-unpack --store layers alpine.tar)", "layers, each once, for an overlay"),
    ],
    see_also: "docker-save(1), umoci-unpack(1), tar(1), pk-mounts(1)",
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
    /// keep each layer once in STORE, for overlayfs, instead of making DIR
    #[argh(option, arg_name = "STORE")]
    store: Option<PathBuf>,
    /// the most bytes to write, without holes, and apart from that for the copy of a pipe
    #[argh(option, arg_name = "SIZE")]
    max_bytes: Option<Size>,
    /// the most entries to unpack
    #[argh(option, arg_name = "N")]
    max_entries: Option<u64>,
}

/// Where the image goes.
enum Destination {
    Directory(Target),
    Store(Store),
}

impl Destination {
    /// IMAGE, and where it goes.
    fn check(store: Option<&Path>, operands: Vec<OsString>) -> Result<(OsString, Self)> {
        let given = format!("{} operands given", operands.len());
        let Some(store) = store else {
            let pair = <[OsString; 2]>::try_from(operands);
            let [source, directory] = pair.map_err(|_| Error::usage("IMAGE DIR", given))?;
            return Ok((source, Self::Directory(Target::check(&directory)?)));
        };
        let hint = "with --store there is no DIR".to_owned();
        let hint = Some(hint).filter(|_| operands.len() == 2);
        let [source] = <[OsString; 1]>::try_from(operands)
            .map_err(|_| Error::usage("--store STORE IMAGE", given).hint(hint))?;
        Ok((source, Self::Store(Store::check(store)?)))
    }

    /// Where unnamed files can be made.
    fn beside(&self) -> &Path {
        match self {
            Self::Directory(target) => &target.parent,
            Self::Store(store) => store.beside(),
        }
    }
}

fn steps(options: Options, operands: Vec<OsString>) -> Result<Steps<Option<Unpacking>>> {
    let (source, destination) = Destination::check(options.store.as_deref(), operands)?;
    if let Some(file) = &options.config {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::read_dir(parent).attempt(format_args!("open({parent:?})"))?;
    }
    let limits = Limits::new(options.max_bytes, options.max_entries);
    let wanted = Wanted { tag: options.tag, platform: options.platform };
    let asked = options.config.is_some() || wanted.tag.is_some() || wanted.platform.is_some();
    let content = Content::find(&source, &wanted, destination.beside(), limits.clone())?;

    let mut steps = Steps::new(None);
    match (content, destination) {
        (Content::Image(archive, image), Destination::Directory(target)) => {
            unpacking::add_begin(&mut steps, &target, limits);
            unpacking::add_layers(&mut steps, &archive, image.layers);
            let source = archive.command(&image.config_path);
            unpacking::add_config(&mut steps, options.config, image.config, &source);
            unpacking::add_end(&mut steps, target, Ok(image.digest));
        }
        (Content::Image(archive, image), Destination::Store(store)) => {
            let storing = Storing::new(store, &image.layers, archive.name(), limits)?;
            storing.add_layers(&mut steps, &archive, image.layers);
            let source = archive.command(&image.config_path);
            unpacking::add_config(&mut steps, options.config, image.config, &source);
            storing.add_end(&mut steps);
        }
        (Content::Rootfs(stream), Destination::Directory(target)) if !asked => {
            unpacking::add_begin(&mut steps, &target, limits);
            let command = stream.command.clone();
            unpacking::add_rootfs(&mut steps, stream);
            unpacking::add_end(&mut steps, target, Err(command));
        }
        (Content::Rootfs(stream), _) => {
            let reason = "is a plain root filesystem: it has no config, tag, platform or layers";
            return Err(Error::new(stream.name, reason));
        }
    }
    Ok(steps)
}
