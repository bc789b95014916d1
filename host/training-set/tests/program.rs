//! What the program says to whoever starts it by hand.

use std::io::Write as _;
use std::process::{Command, Stdio};

#[test]
fn what_is_no_request_is_refused() {
    for (text, says) in [
        ("", "this is no request"),
        ("{\"spine\": 1}", "use `penstock training-set`"),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_penstock-training-set"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(says), "{said}");
    }
}
