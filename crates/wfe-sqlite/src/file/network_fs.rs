//! Refuses databases on network file systems, as far as Linux reports the type of the file system.
//!
//! "WAL does not work over a network filesystem": the index of the write-ahead log is memory that all processes share
//! (<https://www.sqlite.org/wal.html>). On many network file systems, a lock does not exclude other machines
//! (<https://www.sqlite.org/useovernet.html>,
//! <https://www.sqlite.org/howtocorrupt.html#_filesystems_with_broken_or_missing_lock_implementations>). The effects
//! (lost commits or a damaged file) appear late. Therefore a database on a network file system is refused before any
//! file is created.
//!
//! A database is accepted if the type of its file system is not recognised. This happens if the type is unknown, if
//! there is no `/proc`, if no mount is listed for the device (btrfs gives each subvolume its own device), or if the
//! operating system is not Linux.

use std::{fs::Metadata, path::Path};

use wfe_core::Result;

use crate::error::unusable;

/// The names by which `/proc/self/mountinfo` calls the types of network file systems. FUSE types are listed here
/// without their prefix `fuse.`. The shared folders of hypervisors (`virtiofs`, `vboxsf`) are not in the list, because
/// only one kernel may use such a folder.
const NETWORK: [&str; 32] = [
    // The types that systemd treats as network file systems (`fstype_is_network`). The data is on a server, or on a
    // disk that several machines mount.
    "afs",
    "ceph",
    "cifs",
    "davfs",
    "gfs",
    "gfs2",
    "glusterfs",
    "lustre",
    "ncp",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "pvfs2",
    "smb3",
    "smbfs",
    "sshfs",
    // The types that util-linux adds (`mnt_fstype_is_netfs`).
    "9p",
    "curlftpfs",
    // The types that gnulib adds (`ME_REMOTE`, used by `df --local`), except for types that a single machine also
    // mounts.
    "auristorfs",
    "coda",
    "fhgfs",
    "gpfs",
    "ibrix",
    // Further file systems of these kinds, under the names that their own programs use when they mount them: the
    // successor of fhgfs, the FUSE clients of ceph and davfs, and object stores, which have neither locks nor shared
    // memory.
    "beegfs",
    "ceph-fuse",
    "gcsfuse",
    "juicefs",
    "mfs",
    "rclone",
    "s3fs",
];

/// Refuses a database if `place` is on a network file system. `place` is the folder of the database, or the database
/// file.
pub(crate) fn refuse(path: &Path, place: &Path, found: &Metadata) -> Result<()> {
    let Some(device) = device(found) else { return Ok(()) };
    // Without this file, no file system can be recognised.
    let Ok(mounts) = std::fs::read("/proc/self/mountinfo") else { return Ok(()) };
    // The real path matters only if one file system has several mounts. Even then, the path as written is nearly always
    // enough.
    let real = place.canonicalize().unwrap_or_else(|_| place.to_owned());
    match mount(&String::from_utf8_lossy(&mounts), device, &real) {
        Some(mount) if is_network(&mount.kind) => Err(unusable(
            path,
            format!(
                "it is on the network file system {} mounted at {}, where SQLite's locks and shared memory do not work \
                 reliably; choose a folder on a local disk",
                mount.kind, mount.point
            ),
            None,
        )),
        _ => Ok(()),
    }
}

fn is_network(kind: &str) -> bool {
    NETWORK.contains(&kind.strip_prefix("fuse.").unwrap_or(kind))
}

/// The device number of a file. `None` if the operating system is not Linux.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
fn device(found: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some(unpacked(found.dev()))
}

#[cfg(not(target_os = "linux"))]
fn device(_: &Metadata) -> Option<(u64, u64)> {
    None
}

/// Unpacks the major and the minor device number from a `st_dev`, into which glibc and musl pack them in the same way
/// (`gnu_dev_major`, `gnu_dev_minor`).
#[cfg(target_os = "linux")]
fn unpacked(packed: u64) -> (u64, u64) {
    let major = (packed >> 32 & 0xffff_f000) | (packed >> 8 & 0xfff);
    let minor = (packed >> 12 & 0xffff_ff00) | (packed & 0xff);
    (major, minor)
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    kind: String,
    point: String,
}

/// Finds the mount of a device. `mountinfo` is the content of `/proc/self/mountinfo`. If the device has several mounts,
/// the innermost mount that contains `place` is returned. If several mounts share that innermost mount point, the last
/// of them is returned, because it hides the others.
fn mount(mountinfo: &str, device: (u64, u64), place: &Path) -> Option<Mount> {
    let depth = |mount: &Mount| {
        let point = Path::new(&mount.point);
        place.starts_with(point).then(|| point.components().count())
    };
    mountinfo
        .lines()
        .filter_map(line)
        .filter(|(found, _)| *found == device)
        .map(|(_, mount)| mount)
        .max_by_key(depth)
}

/// Parses a line such as `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`. The device
/// is the third field, and the mount point is the fifth. Any number of optional fields come before the `-`. The type
/// comes after the `-` (`proc_pid_mountinfo(5)`).
fn line(line: &str) -> Option<((u64, u64), Mount)> {
    let mut fields = line.split(' ');
    let (major, minor) = fields.nth(2)?.split_once(':')?;
    let point = unescaped(fields.nth(1)?);
    // The search starts after the mount options, so an option cannot be taken for the separator.
    let kind = unescaped(fields.skip(1).skip_while(|field| *field != "-").nth(1)?);
    Some(((major.parse().ok()?, minor.parse().ok()?), Mount { kind, point }))
}

/// Decodes escapes: space, tab, line feed and backslash are written as a backslash and three octal digits.
fn unescaped(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A backslash without a valid escape stays unchanged.
        let byte = part.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()).filter(u8::is_ascii);
        if let Some(byte) = byte {
            text.push(byte.into());
            text.push_str(&part[3..]);
        } else {
            text.push('\\');
            text.push_str(part);
        }
    }
    text
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const MOUNTS: &str = r"
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
61 27 0:48 / /home rw,relatime shared:29 - nfs4 server:/export/home rw,vers=4.2,addr=10.0.0.7
62 61 0:49 / /home/me/My\040Drive\134x rw,nosuid shared:30 master:2 propagate_from:3 - fuse.sshfs me@host:/ rw,user_id=1000
63 27 0:50 /a-b /srv rw - btrfs /dev/sdb rw,subvol=/a - b
70 27 0:51 /jobs /var/jobs rw,relatime shared:1 - cifs //server/share\040one rw
71 27 0:51 / /mnt/share rw,relatime - cifs //server/share\040one rw
72 27 0:52 / /data rw - overlay overlay rw,lowerdir=/l,upperdir=/u
73 27 0:53 / /data rw - tmpfs tmpfs rw
74 27 259:1048575 / /big rw - xfs /dev/nvme9n9 rw
nonsense
75 27 0:x / /y rw - nfs server:/ rw
76 27 0:54 / /cut rw";

    fn kind_and_point(device: (u64, u64), place: &str) -> Option<(String, String)> {
        mount(MOUNTS, device, Path::new(place)).map(|mount| (mount.kind, mount.point))
    }

    #[test]
    fn a_device_leads_to_its_mount() {
        for (device, place, kind, point) in [
            ((254, 0), "/home", "ext4", "/"),
            ((0, 48), "/home/me", "nfs4", "/home"),
            ((0, 49), "/home/me/My Drive\\x/y", "fuse.sshfs", "/home/me/My Drive\\x"),
            ((0, 50), "/srv", "btrfs", "/srv"),
            ((259, 1_048_575), "/big", "xfs", "/big"),
        ] {
            assert_eq!(kind_and_point(device, place), Some((kind.to_owned(), point.to_owned())));
        }
        for unknown in [(0, 0), (0, 54), (48, 0)] {
            assert_eq!(kind_and_point(unknown, "/"), None);
        }
        assert_eq!(mount("", (0, 48), Path::new("/")), None);
    }

    #[test]
    fn of_several_mounts_of_one_device_the_one_around_the_place_is_named() {
        let point = |place| kind_and_point((0, 51), place).unwrap().1;
        assert_eq!(point("/var/jobs/a"), "/var/jobs");
        assert_eq!(point("/mnt/share"), "/mnt/share");
        assert_eq!(kind_and_point((0, 53), "/data").unwrap().0, "tmpfs");
    }

    #[test]
    fn network_types_are_told_from_local_ones() {
        for network in
            ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.s3fs", "ceph", "fuse.glusterfs"]
        {
            assert!(is_network(network), "{network}");
        }
        for local in [
            "ext4",
            "xfs",
            "btrfs",
            "tmpfs",
            "overlay",
            "zfs",
            "fuseblk",
            "fuse",
            "fuse.",
            "fuse.encfs",
            "nfsd",
            "",
        ] {
            assert!(!is_network(local), "{local}");
        }
        let distinct: std::collections::HashSet<_> = NETWORK.iter().collect();
        assert_eq!(distinct.len(), NETWORK.len());
    }

    #[test]
    fn device_numbers_are_unpacked_as_the_kernel_names_them() {
        assert_eq!(unpacked(0x801), (8, 1));
        assert_eq!(unpacked(0x1f), (0, 31));
        assert_eq!(unpacked(0x1034_5602), (0x456, 0x1_0302));
        assert_eq!(unpacked(0xabcd_e123_4567_89ef), (0xabcd_e789, 0x1234_56ef));
        // The test compares with this kernel's entry for a file system that every Linux has.
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let proc = std::fs::metadata("/proc").unwrap();
        let found = mount(&text, device(&proc).unwrap(), Path::new("/proc")).unwrap();
        assert_eq!(found, Mount { kind: "proc".to_owned(), point: "/proc".to_owned() });
    }
}
