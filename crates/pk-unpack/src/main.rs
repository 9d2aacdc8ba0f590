//! pk-unpack [OPTION...] IMAGE DIR: turns an image archive into a root filesystem.
//!
//! First the image's documents are read and checked, down to a list of layers. The steps then
//! apply these, the lowest first, in a directory beside DIR that is renamed at the end.
#![cfg_attr(not(test), no_main)]

mod archive;
mod blob;
mod compression;
mod digest;
mod docker;
mod entry;
mod image;
mod inode;
mod interrupt;
mod limits;
mod metadata;
mod oci;
mod partial;
mod pax;
mod platform;
mod removal;
mod root;
mod rootfs;
mod sparse;
mod stream;
mod symlink;
mod tree;
mod unpacking;
mod whiteout;

use argh::{ArgsInfo, FromArgs};
use image::{Content, Wanted};
use limits::{Limits, Size};
use partial::Target;
use pk::{Attempt, Error, Result, Steps, quote};
use platform::Platform;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use unpacking::Unpacking;

const TOOL: pk::Tool = pk::Tool {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    operands: "IMAGE DIR",
    kind: pk::Kind::Plain,
    notes: "\
IMAGE is what docker save writes, or an OCI image layout, as a directory or a tar, or one plain tar
of a root filesystem; - is standard input. Each may be compressed as a whole: gzip, zstd, xz, bzip2.
DIR must not exist, or be an empty directory: it is whole in the end, or not there.
The digest of the image's manifest is printed; an old archive has none, and gives the image's id; a
plain tar gives its own.

  docker save alpine | pk-unpack - rootfs
  docker export box | pk-unpack - rootfs
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
    /// the most bytes to write, without holes, and apart from that for the copy of a pipe
    #[argh(option, arg_name = "SIZE")]
    max_bytes: Option<Size>,
    /// the most entries to unpack
    #[argh(option, arg_name = "N")]
    max_entries: Option<u64>,
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
    let limits = Limits::new(options.max_bytes, options.max_entries);
    let mut steps = Steps::new(None);
    unpacking::add_begin(&mut steps, &target, limits.clone());
    let wanted = Wanted { tag: options.tag, platform: options.platform };
    let digest = match Content::find(&source, &wanted, &target.parent, limits)? {
        Content::Image(archive, image) => {
            unpacking::add_layers(&mut steps, &archive, image.layers, &target);
            if let Some(file) = options.config {
                steps.add(
                    "what the image says of its program: pk-chroot-exec --config takes it",
                    format!("open({file:?}, O_WRONLY|O_CREAT|O_TRUNC)"),
                    format!("{} > {}", archive.command(&image.config_path), quote(&file)),
                    move |_| fs::write(&file, &image.config),
                );
            }
            Some(image.digest)
        }
        Content::Rootfs(stream) => {
            let asked =
                options.config.is_some() || wanted.tag.is_some() || wanted.platform.is_some();
            if asked {
                let reason = "is a plain root filesystem: it has no config, tag or platform";
                return Err(Error::new(stream.name, reason));
            }
            unpacking::add_rootfs(&mut steps, stream, &target);
            None
        }
    };
    unpacking::add_end(&mut steps, target, digest);
    Ok(steps)
}
