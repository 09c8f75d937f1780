//! Folders of a disk: the real one and the one in memory answer the same, and a power cut takes no name that was synced
//! in its own folder, whatever became of others.

use dynemix_storage::{CrashChoice, Disk, MemoryDisk, RealDisk};
use std::io::ErrorKind;

/// What a disk answers, step by step.
fn answers(disk: &dyn Disk) -> Vec<String> {
    let mut said = Vec::new();
    let mut say = |what: String| said.push(what);
    let inner = disk.folder("snapshots").folder("7");
    say(format!("{:?}", inner.create("manifest").err().map(|error| error.kind())));
    say(format!("{:?}", inner.files().map_err(|error| error.kind())));
    inner.make().unwrap();
    inner.make().unwrap();
    inner.replace("manifest", &[b"one", b"two"]).unwrap();
    inner.replace("chunk.00000", &[b"three"]).unwrap();
    disk.replace("system.3", &[b"beside"]).unwrap();
    disk.sync_names().unwrap();
    let names = |disk: &dyn Disk| disk.files().unwrap().into_iter().map(|file| file.0).collect::<Vec<_>>();
    say(format!("{:?} {:?}", names(disk), names(&*inner)));
    say(format!("{:?} {:?}", disk.folders().unwrap(), disk.folder("snapshots").folders().unwrap()));
    say(format!("{:?}", inner.read_whole("manifest", u64::MAX).unwrap()));
    say(format!("{:?}", inner.read_whole("manifest", 4).unwrap()));
    say(format!("{:?}", inner.read_whole("nothing", 4).map_err(|error| error.kind())));
    inner.replace("manifest", &[b"another"]).unwrap();
    say(format!("{:?} {:?}", names(&*inner), inner.read_whole("manifest", u64::MAX).unwrap()));
    let locked = [disk.folder("state"), disk.folder("other")].map(|folder| {
        folder.make().unwrap();
        folder.lock().unwrap()
    });
    say(format!("{}", disk.folder("state").lock().is_err()));
    drop(locked);
    say(format!("{}", disk.folder("state").lock().is_ok()));
    disk.folder("snapshots").remove_folder("7").unwrap();
    say(format!("{:?} {:?}", disk.folder("snapshots").folders().unwrap(), inner.files().map_err(|error| error.kind())));
    said
}

#[test]
fn both_disks_answer_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (real, memory) = (answers(&RealDisk::new(directory.path()).unwrap()), answers(&MemoryDisk::new()));
    assert_eq!(real, memory);
    assert_eq!(real[0], format!("{:?}", Some(ErrorKind::NotFound)), "nothing is made in a folder that is not there");
}

#[test]
fn names_are_durable_by_the_sync_of_their_own_folder() {
    let disk = MemoryDisk::new();
    let [one, two] = ["one", "two"].map(|name| disk.folder(name));
    for folder in [&one, &two] {
        folder.make().unwrap();
        folder.replace("file", &[b"whole"]).unwrap();
    }
    one.sync_names().unwrap();
    disk.sync_names().unwrap();
    let after = disk.crash(disk.log_len(), CrashChoice::None);
    assert_eq!(after.folders().unwrap(), ["one", "two"], "folders are durable when they are made");
    assert_eq!(after.folder("one").read_whole("file", 9).unwrap(), b"whole");
    assert!(after.folder("two").files().unwrap().is_empty(), "nobody has synced its names");
    // A removed folder is back after a power cut, until the names that it stood among are synced.
    disk.remove_folder("one").unwrap();
    let after = disk.crash(disk.log_len(), CrashChoice::None);
    assert_eq!(after.folder("one").read_whole("file", 9).unwrap(), b"whole");
    disk.sync_names().unwrap();
    let after = disk.crash(disk.log_len(), CrashChoice::None);
    assert_eq!(after.folders().unwrap(), ["two"]);
    assert!(after.folder("one").open("file").is_err());
}
