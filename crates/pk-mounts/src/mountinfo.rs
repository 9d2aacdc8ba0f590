//! `/proc/PID/mountinfo`, as far as it tells how mounts travel. `proc_pid_mountinfo(5)`.

/// The mount point of a mount, if events in it are shared with others.
pub fn shared_mount_point(mountinfo: &str, mount_id: u64) -> Option<&str> {
    let (point, fields) = optional_fields(mountinfo, mount_id)?;
    fields.iter().any(|field| field.starts_with("shared:")).then_some(point)
}

/// A mount's point, and the fields that tell how mounts travel.
pub fn optional_fields(mountinfo: &str, mount_id: u64) -> Option<(&str, Vec<&str>)> {
    let line = mountinfo
        .lines()
        .find(|line| line.split(' ').next().and_then(|id| id.parse().ok()) == Some(mount_id))?;
    let mut fields = line.split(' ').take_while(|&field| field != "-");
    let point = fields.nth(4)?;
    Some((point, fields.skip(1).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_mount_is_known_by_its_optional_fields() {
        let text = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            30 22 0:5 / /a rw master:3 - tmpfs shared:9 rw\n\
            31 22 0:5 / /b rw master:3 shared:7 - tmpfs t rw\n";
        let found = [22, 30, 31, 99].map(|id| shared_mount_point(text, id));
        assert_eq!(found, [Some("/"), None, Some("/b"), None]);
    }
}
