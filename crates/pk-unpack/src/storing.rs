//! The steps with `--store`: each layer that is not there yet is made and renamed into place.

use crate::archive::Archive;
use crate::equivalent::shell_marking;
use crate::image::Layer;
use crate::inode::Lost;
use crate::interrupt;
use crate::limits::Limits;
use crate::lower::Lower;
use crate::partial::Place;
use crate::store::Store;
use crate::stream::Layers;
use crate::tree::Tree;
use crate::unpacking::{self, Unpacking};
use pk::{Attempt, Error, Result, Steps, quote};
use rustix::fs::syncfs;
use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// An image on its way into a store. What the steps share is the layer in the making: there is
/// none where another run has made it meanwhile.
pub struct Storing {
    store: Store,
    /// The layers' names in the store, the lowest first.
    names: Vec<String>,
    lost: Rc<Cell<Lost>>,
    /// Of all layers together.
    limits: Rc<RefCell<Limits>>,
}

type Making = Option<Unpacking>;

impl Storing {
    /// Finds out how the layers are called.
    pub fn new(store: Store, layers: &[Layer], image: &str, limits: Limits) -> Result<Self> {
        if layers.is_empty() {
            return Err(Error::new(image, "the image has no layers, and overlayfs takes no fewer"));
        }
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let names = store.names(&diff_ids);
        Ok(Self { store, names, lost: Rc::default(), limits: Rc::new(RefCell::new(limits)) })
    }

    /// Adds what makes the layers that are missing. Those that are there are not even opened.
    pub fn add_layers(&self, steps: &mut Steps<Making>, archive: &Archive, layers: Vec<Layer>) {
        let is_missing = |(_, name): &(Layer, &String)| !self.store.layer(name).is_dir();
        let missing: Vec<_> = layers.into_iter().zip(&self.names).filter(is_missing).collect();
        if missing.is_empty() {
            return;
        }
        let place = Place::default();
        self.add_begin(steps, &place);
        let bar = unpacking::progress_bar(missing.iter().map(|(one, _)| one.blob.size()).sum());
        let reading = missing.iter().map(|(layer, _)| layer.clone());
        let reading = Rc::new(RefCell::new(Layers::new(reading, bar.clone())));
        for (layer, name) in missing {
            self.add_layer(steps, archive, &layer, name, &place, &reading);
        }
        steps.add(
            "the progress that was shown on a terminal",
            "write(2)",
            ": # no command shows it",
            move |_| {
                bar.finish_and_clear();
                Ok::<_, Error>(())
            },
        );
    }

    fn add_begin(&self, steps: &mut Steps<Making>, place: &Place) {
        let (store, place) = (self.store.clone(), Place::clone(place));
        steps.add(
            "it is made if it is not there; its owner alone can look into it",
            format!("mkdir({:?}, 0700)", store.path),
            format!("mkdir -p -m 700 {}", quote(&store.path)),
            move |_| {
                interrupt::watch(&place)?;
                store.create()?;
                Ok::<_, Error>(())
            },
        );
        let store = self.store.clone();
        steps.add(
            "runs that were killed left these; one that lives holds the lock of its own",
            "flock(LOCK_EX|LOCK_NB), unlinkat()",
            format!(
                "for d in {}/.??*; do [ ! -d \"$d\" ] || flock -n \"$d\" rm -rf \"$d\"; done",
                quote(&store.path)
            ),
            move |_| store.remove_leftovers(),
        );
    }

    fn add_layer(
        &self,
        steps: &mut Steps<Making>,
        archive: &Archive,
        layer: &Layer,
        name: &str,
        place: &Place,
        reading: &Rc<RefCell<Layers>>,
    ) {
        let (whole, partial) = (self.store.layer(name), self.store.partial(name));
        let below = self.names.iter().take_while(|below| *below != name);
        let below: Vec<String> = below.cloned().collect();
        let (store, place, owned) = (self.store.clone(), Place::clone(place), name.to_owned());
        let limits = Rc::clone(&self.limits);
        steps.add(
            "another run that makes this layer is waited for; what a killed one left is removed",
            format!("mkdir({partial:?}, 0700), flock(LOCK_EX)"),
            format!("mkdir -m 755 {}", quote(&partial)),
            move |making| {
                *making = match store.begin(&owned, &place)? {
                    None => None,
                    Some(partial) => {
                        let lower: Result<_> =
                            below.iter().rev().map(|name| store.open(name)).collect();
                        let lower = Lower::new(lower?, store.marks);
                        let tree = Tree::layer(partial.as_fd(), lower)?;
                        let tree = tree.limited(limits.borrow().clone());
                        Some(Unpacking { tree, partial, digest: None })
                    }
                };
                Ok::<_, Error>(())
            },
        );
        let tar = format!("{}{}", archive.command(&layer.path), layer.compression.command());
        let (shown, reading) = (layer.name(), Rc::clone(reading));
        steps.add(
            "what .wh. files name becomes a device 0:0, which hides it in the layers below",
            format!("{shown}: openat2(RESOLVE_IN_ROOT), openat(O_CREAT|O_EXCL), mknodat(0:0), …"),
            shell_marking(&tar, &quote(&partial), self.store.marks.opaque()),
            move |making| {
                let reading = reading.borrow_mut().next()?;
                if let Some(Unpacking { tree, .. }) = making {
                    reading.apply(|tar| tree.apply(&shown, tar))?;
                }
                Ok::<_, Error>(())
            },
        );
        let (lost, limits) = (Rc::clone(&self.lost), Rc::clone(&self.limits));
        steps.add(
            "directories last; on the disk before it bears its name: nobody checks it again",
            format!("syncfs({partial:?}), rename({partial:?}, {whole:?})"),
            format!("sync -f {0} && mv -T {0} {1}", quote(&partial), quote(&whole)),
            move |making| {
                let Some(Unpacking { mut tree, partial, .. }) = making.take() else {
                    return Ok(());
                };
                tree.finish()?;
                syncfs(partial.as_fd()).attempt("syncfs")?;
                partial.rename(&whole)?;
                *limits.borrow_mut() = tree.limits().clone();
                lost.update(|lost| lost.plus(tree.lost()));
                Ok::<_, Error>(())
            },
        );
    }

    /// Adds what is said at the end.
    pub fn add_end(self, steps: &mut Steps<Making>) {
        let lowerdir = self.store.lowerdir(&self.names);
        steps.add(
            "the layers, the topmost first: what pk-mounts --overlay takes",
            format!("write(1, {lowerdir:?})"),
            format!("echo {}", quote(&lowerdir)),
            move |_| unpacking::print(&[lowerdir.as_bytes(), b"\n"].concat()),
        );
        steps.add(
            "what the caller has no right to keep, or the filesystem no means, is told in one line",
            "write(2)",
            ": # tar tells each one",
            move |_| unpacking::tell(&self.lost.get()),
        );
    }
}
