//! What a layer is in shell, as far as GNU tar can: what `--explain` prints.

/// The shell commands that apply a layer to the directory `into`, as far as GNU tar can; `tar` are
/// those that print it. What its whiteouts name in lower layers goes before anything is made.
pub fn shell_applying(tar: &str, into: &str) -> String {
    let opaque = format!("find {into}/\"${{f%.wh..wh..opq}}\" -mindepth 1 -delete");
    let plain = format!("rm -rf {into}/\"${{f%.wh.*}}${{f##*.wh.}}\"");
    shell(tar, into, &opaque, &plain)
}

/// The same for a layer that lies alone, in the form that overlayfs takes: `opaque` is the extended
/// attribute of a directory that hides those below it.
pub fn shell_marking(tar: &str, into: &str, opaque: &str) -> String {
    let at = format!("{into}/\"${{f%.wh.*}}\"");
    let marked = format!("{into}/\"${{f%.wh..wh..opq}}\"");
    let opaque = format!("mkdir -p {marked}; setfattr -n {opaque} -v y {marked}");
    let plain = format!("mkdir -p {at}; mknod -m 0 {at}\"${{f##*.wh.}}\" c 0 0");
    shell(tar, into, &opaque, &plain)
}

fn shell(tar: &str, into: &str, opaque: &str, plain: &str) -> String {
    format!(
        "{tar} | tar -t | grep '\\.wh\\.[^/]*$' | while read -r f; do \
         case $f in *.wh..wh..opq) {opaque};; *) {plain};; esac; done; \
         {tar} | {TAR} --exclude='.wh.*' -xpC {into}"
    )
}

/// The command that unpacks a tar.
pub const TAR: &str = "tar --xattrs-include='*' --numeric-owner --delay-directory-restore";
