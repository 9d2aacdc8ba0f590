//! Copying up: a file of a lower layer becomes one of the new layer, with all that it keeps.

use crate::inode::{self, Lost};
use crate::lower::is_mark;
use crate::metadata::Metadata;
use pk::{Attempt, Result};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, SeekFrom, Stat, Timespec, ftruncate, lgetxattr, llistxattr,
    mknodat, openat, readlinkat, seek, statat, symlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, copy};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

/// Copies what is no directory to the same path in the new layer, which holds the one above it.
pub fn copy_up(from: impl AsFd, to: impl AsFd, path: &Path, lost: &mut Lost) -> Result<()> {
    let call = || format!("copying up {path:?}");
    let (from, to) = (from.as_fd(), to.as_fd());
    let stat = statat(from, path, AtFlags::SYMLINK_NOFOLLOW).attempt(call())?;
    let metadata = metadata(from, path, &stat)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let source = openat(from, path, OFlags::RDONLY | flags, Mode::empty());
            let source = File::from(source.attempt(call())?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | flags;
            let file = openat(to, path, flags, Mode::RUSR | Mode::WUSR).attempt(call())?;
            let file = File::from(file);
            copy_data(&source, &file, stat.st_size.cast_unsigned()).attempt(call())?;
            return inode::set(&file, &metadata, lost);
        }
        FileType::Symlink => {
            let target = readlinkat(from, path, Vec::new()).attempt(call())?;
            symlinkat(target, to, path).attempt(call())?;
            return inode::set_unopened(to, path.as_os_str(), &metadata, lost);
        }
        kind => mknodat(to, path, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev).attempt(call())?,
    }
    inode::set_unopened(to, path.as_os_str(), &metadata, lost)?;
    inode::set_mode_unopened(to, path.as_os_str(), metadata.mode)
}

/// What a file or a directory of a layer keeps besides its contents.
pub fn metadata(layer: impl AsFd, path: &Path, stat: &Stat) -> Result<Metadata> {
    // There is no lgetxattrat before Linux 6.13.
    let place = Path::new("/proc/self/fd").join(layer.as_fd().as_raw_fd().to_string()).join(path);
    let xattrs = xattrs(&place).attempt(format_args!("llistxattr({path:?})"))?;
    let mtime =
        Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or(0) };
    Ok(Metadata {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Some(mtime),
        xattrs,
    })
}

fn xattrs(path: &Path) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // The bounds of the kernel: XATTR_LIST_MAX and XATTR_SIZE_MAX.
    let mut names = vec![0; 1 << 16];
    let length = match llistxattr(path, names.as_mut_slice()) {
        Err(Errno::OPNOTSUPP) => 0,
        result => result?,
    };
    let mut xattrs = Vec::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        // SELinux labels what is made by its own rules, so that this one is not the image's.
        if is_mark(name) || name == b"security.selinux" {
            continue;
        }
        let mut value = vec![0; 1 << 16];
        let length = lgetxattr(path, name, value.as_mut_slice())?;
        value.truncate(length);
        xattrs.push((name.to_vec(), value));
    }
    Ok(xattrs)
}

/// Copies the data and leaves out the holes.
fn copy_data(mut from: &File, mut to: &File, size: u64) -> std::io::Result<()> {
    let mut end = 0;
    loop {
        let start = match seek(from, SeekFrom::Data(end)) {
            // No data follows.
            Err(Errno::NXIO) => break,
            result => result?,
        };
        end = seek(from, SeekFrom::Hole(start))?;
        seek(from, SeekFrom::Start(start))?;
        seek(to, SeekFrom::Start(start))?;
        copy(&mut from.by_ref().take(end - start), &mut to)?;
    }
    Ok(ftruncate(to, size)?)
}
