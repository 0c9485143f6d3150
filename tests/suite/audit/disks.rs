//! Small disks of their own for the audit log, which fill up and hang when they are told to. To make one takes root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// A folder for a node whose audit log lies on a disk of its own.
pub(crate) struct Disk {
    folder: Option<TempDir>,
    at: PathBuf,
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Disk {
    /// In memory, and no larger than this.
    pub(crate) fn small(kilobytes: u32) -> Self {
        let disk = Self::folder();
        let size = format!("size={kilobytes}k,mode=0700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&disk.at));
        disk
    }

    /// A file system of its own, which can be frozen.
    pub(crate) fn freezable() -> Self {
        let disk = Self::folder();
        let image = disk.path().join("image");
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&disk.at));
        fs::remove_dir(disk.at.join("lost+found")).unwrap();
        disk
    }

    fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("disk");
        fs::create_dir(&at).unwrap();
        Self { folder: Some(folder), at }
    }

    fn path(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Where the audit log goes.
    pub(crate) fn audit(&self) -> String {
        self.at.join("audit").to_str().unwrap().to_owned()
    }

    /// Takes whatever room is left.
    pub(crate) fn fill(&self) {
        let bytes = vec![0; 16 << 20];
        // It is full when this fails.
        assert!(fs::write(self.at.join("filler"), bytes).is_err());
    }

    /// Gives it back.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.at.join("filler")).unwrap();
    }

    /// No file can be made in the folder of the log any more, and the one that there is goes out of its way.
    pub(crate) fn lock_folder(&self) {
        let current = Path::new(&self.audit()).join("audit.log");
        loop {
            // Its owner may be quicker and make another one.
            let _gone = fs::rename(&current, current.with_file_name("aside"));
            self.attribute("+i");
            if !current.exists() {
                return;
            }
            self.attribute("-i");
        }
    }

    /// Files can be made again.
    pub(crate) fn unlock_folder(&self) {
        self.attribute("-i");
    }

    fn attribute(&self, change: &str) {
        run(Command::new("chattr").arg(change).arg(self.audit()));
    }

    /// Whoever writes to it waits.
    pub(crate) fn freeze(&self) {
        run(Command::new("fsfreeze").arg("-f").arg(&self.at));
    }

    /// Whoever waits goes on.
    pub(crate) fn thaw(&self) {
        run(Command::new("fsfreeze").arg("-u").arg(&self.at));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed may have left it frozen, and a process that waits for it can't even be killed.
        let _thawed = Command::new("fsfreeze").arg("-u").arg(&self.at).output();
        let _unmounted = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}
