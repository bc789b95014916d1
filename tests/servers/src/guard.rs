//! Sees to it that a server does not outlive the process that started it, even when that is killed.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result};

/// Reads which process group is to be killed: the last line counts, an empty one stands for none. Its input ends when
/// the process that holds the other end of the pipe does, however it ended. Then the group is killed and the folder
/// removed; a dying process may still be writing there, so that is tried more than once.
const SCRIPT: &str = r#"
group=
while read -r line; do group=$line; done
if [ -n "$group" ]; then kill -s KILL -- "-$group"; fi
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$0" && exit
    sleep 0.2
done
"#;

/// A small shell that waits for this process's end.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Child,
    /// Its end tells the shell.
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Guards a folder, which is removed in the end.
    pub(crate) fn over(folder: &Path) -> Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT])
            .arg(folder)
            .stdin(Stdio::piped())
            // Whoever reads this process's output must not wait for the shell as well.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start `sh`")?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// From now on the process group of this number is to end with this process, or none.
    pub(crate) fn hold(&mut self, group: Option<u32>) -> Result<()> {
        let line = group.map_or_else(|| "\n".to_owned(), |group| format!("{group}\n"));
        let pipe = self.pipe.as_mut().context("the guard has ended")?;
        pipe.write_all(line.as_bytes())
            .context("the shell that guards a server has ended")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe = None;
        // It ends by itself; one that somebody killed is no reason to fail.
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_pipe_ends_the_group_and_removes_the_folder() {
        let folder = std::env::temp_dir().join(format!("penstock-guard-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("there is room");
        // Two processes, as a server may have.
        let mut server = Command::new("sh")
            .args(["-c", "sleep 60 & wait"])
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        let mut guard = Guard::over(&folder).expect("it starts");
        guard.hold(None).expect("it listens");
        guard.hold(Some(server.id())).expect("it listens");
        assert!(server.try_wait().expect("it is ours").is_none());
        drop(guard);
        assert!(!server.wait().expect("it is ours").success());
        assert!(!folder.exists());
    }
}
