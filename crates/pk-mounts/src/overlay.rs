//! Layers put over each other: the kernel's documentation, filesystems/overlayfs.

use crate::root::{Root, reopen};
use crate::standard::in_initial_user_namespace;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{SFlag, stat};
use pk::{Attempt, Error, Result, Steps, quote};
use std::fmt::Write;

/// An overlay mount's options as text.
pub struct Overlay {
    options: String,
}

/// The overlay that the options describe, if any; its directories must be there.
pub fn settle(
    lower: Option<String>,
    upper: Option<String>,
    work: Option<String>,
) -> Result<Option<Overlay>> {
    let Some(lower) = lower else {
        let lonely = upper.or(work).map(|_| Error::usage("--upper, --work", "need --overlay"));
        return lonely.map_or(Ok(None), Err);
    };
    let layers: Vec<&str> = lower.split(':').collect();
    for directory in layers.iter().copied().chain(upper.as_deref()).chain(work.as_deref()) {
        let status = stat(directory).attempt(format_args!("stat({directory:?})"))?;
        if status.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFDIR.bits() {
            return Err(Error::new(format_args!("stat({directory:?})"), "is not a directory"));
        }
    }
    let mut options = format!("lowerdir={}", escaped(&lower));
    match (&upper, &work) {
        (Some(upper), Some(work)) => {
            let _ = write!(options, ",upperdir={},workdir={}", escaped(upper), escaped(work));
        }
        (None, None) if layers.len() < 2 => {
            return Err(Error::usage("--overlay", "one layer alone is not an overlay").hint(
                "add --upper DIR --work DIR, or use the layer as ROOT with --read-only".to_owned(),
            ));
        }
        (None, None) => {}
        _ => return Err(Error::usage("--upper, --work", "go together")),
    }
    if !in_initial_user_namespace() {
        // Whiteouts and opaque directories are marked in user.*, trusted.* being root's.
        options += ",userxattr";
    }
    // mount(2) takes one page of options.
    if options.len() >= 4096 {
        return Err(Error::usage(
            "--overlay",
            "the layers' paths are longer than 4095 bytes together",
        )
        .hint("shorter paths, as from a working directory near the layers, help".to_owned()));
    }
    Ok(Some(Overlay { options }))
}

/// The separator of options, in a path.
fn escaped(path: &str) -> String {
    path.replace(',', r"\,")
}

impl Overlay {
    pub fn add_mount(self, root: &str, steps: &mut Steps<Root>) {
        let Self { options } = self;
        steps.add(
            "layers read from top to bottom; what is changed is written to the upper directory",
            format!("mount(\"overlay\", {root:?}, \"overlay\", 0, {options:?})"),
            format!("mount -t overlay -o {} overlay {root}", quote(&options)),
            move |root| {
                let on = root.on_host();
                mount(
                    Some("overlay"),
                    on,
                    Some("overlay"),
                    MsFlags::empty(),
                    Some(options.as_str()),
                )?;
                reopen(root)
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(lower: &str, upper: Option<&str>, work: Option<&str>) -> Option<String> {
        let own = |text: Option<&str>| text.map(str::to_owned);
        settle(Some(lower.to_owned()), own(upper), own(work)).ok()?.map(|overlay| overlay.options)
    }

    #[test]
    fn layers_and_directories_become_options() {
        let with_upper = options("/usr:/etc", Some("/tmp"), Some("/var")).unwrap();
        assert!(with_upper.starts_with("lowerdir=/usr:/etc,upperdir=/tmp,workdir=/var"));
        assert!(options("/usr:/etc", None, None).unwrap().starts_with("lowerdir=/usr:/etc"));
        assert_eq!(options("/usr", None, None), None, "one layer");
        assert_eq!(options("/usr:/nonexistent", None, None), None, "a missing layer");
        assert_eq!(options("/usr:/etc/passwd", None, None), None, "a file");
        assert_eq!(options("/usr:/etc", Some("/tmp"), None), None, "no work directory");
        assert!(settle(None, Some("/tmp".to_owned()), None).is_err());
        assert!(settle(None, None, None).unwrap().is_none());
        assert_eq!(escaped("a,b"), r"a\,b");
    }
}
