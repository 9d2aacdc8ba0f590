use super::*;
use std::io::BufReader;
use tar::Builder;

impl Skip for BufReader<&[u8]> {}

/// All entries with their contents, read a byte at a time.
fn read(tar: &[u8]) -> io::Result<Vec<(Entry, Vec<u8>)>> {
    let mut entries = Entries::new(BufReader::with_capacity(1, tar));
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry()? {
        let mut contents = Vec::new();
        while let &[byte] = entries.contents()? {
            contents.push(byte);
            entries.consume(1);
        }
        found.push((entry, contents));
    }
    Ok(found)
}

fn header(kind: EntryType, name: &[u8], size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

fn archive(members: &[(EntryType, &[u8], &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, name, data) in members {
        tar.append(&header(*kind, name, data.len() as u64), *data).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn an_archive_that_is_cut_is_never_taken_for_whole() {
    let long = vec![b'n'; 300];
    let tar = archive(&[
        (EntryType::GNULongName, b"@", &long),
        (EntryType::Regular, b"short", b"contents"),
        (EntryType::XHeader, b"pax", b"20 path=from-record\n"),
        (EntryType::Symlink, b"short", b""),
    ]);
    let whole = read(&tar).unwrap();
    let paths: Vec<_> = whole.iter().map(|(entry, _)| entry.path.as_slice()).collect();
    assert_eq!(paths, [long.as_slice(), b"from-record"]);
    assert_eq!(whole[0].1, b"contents");

    // Long name, its data, header; contents, PAX header, its data; header, two blocks of zeros.
    assert_eq!(tar.len(), 9 * 512);
    for cut in 0..tar.len() {
        let expected = match cut {
            0 => Some(0),
            // The contents are there, perhaps with less than the filling behind them.
            _ if (3 * 512 + 8..=4 * 512).contains(&cut) => Some(1),
            _ if cut >= 7 * 512 => Some(2),
            _ => None,
        };
        let found = read(&tar[..cut]).ok().map(|entries| entries.len());
        assert_eq!(found, expected, "cut at {cut}");
    }
}

#[test]
fn malformed_archives_are_refused() {
    let record = |record: &[u8], kind| {
        archive(&[(EntryType::XHeader, b"pax", record), (kind, b"name", b"")])
    };
    let file = EntryType::Regular;
    let mut zeros = archive(&[(file, b"a", b"")]);
    zeros.splice(0..0, [0; 512]);
    let mut sum = archive(&[(file, b"a", b"")]);
    sum[0] = b'b';
    let mut size = header(file, b"a", 0);
    size.as_old_mut().size = [0xff; 12];
    size.set_cksum();
    let table = [
        (zeros, "a block of zeros among the entries"),
        (sum, "not a tar header"),
        (size.as_bytes().to_vec(), "a negative size"),
        (archive(&[(EntryType::new(b'M'), b"a", b"")]), "type 'M' is not known"),
        (archive(&[(EntryType::XHeader, b"a", b"12 path=x\n")]), "malformed PAX record"),
        (archive(&[(EntryType::XHeader, b"a", b"")]), "truncated"),
        (record(b"12 path=a\0b\n", file), "a NUL in a name"),
        (record(b"18 uid=4294967295\n", file), "uid does not fit"),
        (record(b"10 size=x\n", file), "size is not a number"),
        (record(b"22 GNU.sparse.major=2\n", file), "unknown sparse format"),
        (
            archive(&[(EntryType::GNULongName, b"@", b"x"), (EntryType::GNULongName, b"@", b"y")]),
            "two extended headers of one kind for one entry",
        ),
        (
            archive(&[
                (EntryType::GNULongName, b"@", b"x"),
                (EntryType::XHeader, b"pax", b"10 path=y\n"),
                (file, b"name", b""),
            ]),
            "a name both of GNU's and of PAX's kind",
        ),
    ];
    for (tar, reason) in table {
        let error = read(&tar).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error:?} instead of {reason:?}");
    }
}

#[test]
fn numbers_may_be_blank_or_binary() {
    let mut header = header(EntryType::Directory, b"d/", 0);
    header.as_old_mut().uid = *b"        ";
    header.as_old_mut().gid = [0x80, 0, 0, 0, 0xb2, 0xd0, 0x5e, 0x01];
    header.as_old_mut().mtime = [0xff; 12];
    header.set_cksum();
    let (entry, _) = read(header.as_bytes()).unwrap().remove(0);
    let Metadata { uid, gid, mtime, .. } = entry.metadata;
    assert_eq!((uid, gid, mtime.unwrap().tv_sec), (0, 3_000_000_001, -1));
}
