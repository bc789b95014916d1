//! Runs other programs, and prints them so that a person can repeat them.

use std::{
    borrow::Cow,
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Prints `$ command` and runs it on this terminal. Fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// As [`run`], but each line of its standard output goes to `line`, which prints it or does not.
pub(crate) fn run_reading(command: &mut Command, mut line: impl FnMut(&str)) -> Result<()> {
    println!("$ {}", shown(command));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let mut output = BufReader::new(child.stdout.take().expect("it was piped just above"));
    let mut bytes = Vec::new();
    while output.read_until(b'\n', &mut bytes)? > 0 {
        line(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']));
        bytes.clear();
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs a command without a word, and gives its standard output. What it says on standard error becomes the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{}` failed ({}):\n{}",
            shown(command),
            output.status,
            said.trim_end()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed other than UTF-8", shown(command)))
}

/// Whether a command can be started and succeeds; it prints nothing.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as one would type it in its folder.
pub(crate) fn shown(command: &Command) -> String {
    let folder = command.get_current_dir();
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!(
                "{}={}",
                name.to_string_lossy(),
                quoted(&value.to_string_lossy())
            ));
        }
    }
    let program = Path::new(command.get_program());
    // Cargo passes its full path on; whoever repeats the command has it on their PATH.
    match program.file_stem() {
        Some(name) if name == "cargo" => words.push("cargo".to_owned()),
        _ => words.push(quoted(&relative(program.as_os_str(), folder)).into_owned()),
    }
    words.extend(
        command
            .get_args()
            .map(|argument| quoted(&relative(argument, folder)).into_owned()),
    );
    words.join(" ")
}

fn relative<'a>(argument: &'a OsStr, folder: Option<&Path>) -> Cow<'a, str> {
    let inside = folder.and_then(|folder| Path::new(argument).strip_prefix(folder).ok());
    inside.map_or_else(
        || argument.to_string_lossy(),
        |inside| inside.to_string_lossy(),
    )
}

fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_typed() {
        let mut command = Command::new("/toolchain/bin/cargo");
        command
            .current_dir("/r")
            .env("RUSTDOCFLAGS", "-D warnings")
            .args(["doc", "/r/examples/a b.toml", "it's"]);
        assert_eq!(
            shown(&command),
            r"RUSTDOCFLAGS='-D warnings' cargo doc 'examples/a b.toml' 'it'\''s'"
        );
        let mut command = Command::new("/r/target/release/penstock");
        command.current_dir("/r").args(["run", "--all"]);
        assert_eq!(shown(&command), "target/release/penstock run --all");
    }

    #[test]
    fn failures_name_the_command() {
        let error =
            run(&mut Command::new("no-such-program-anywhere")).expect_err("it cannot be started");
        assert!(
            format!("{error:#}").contains("no-such-program-anywhere"),
            "{error:#}"
        );
        let error =
            output(Command::new("cargo").arg("no-such-subcommand")).expect_err("cargo refuses");
        assert!(
            format!("{error:#}").contains("cargo no-such-subcommand"),
            "{error:#}"
        );
    }

    #[test]
    fn lines_are_handed_on_one_by_one() {
        let mut lines = Vec::new();
        run_reading(Command::new("printf").arg("a\\nb\\n\\nc"), |line| {
            lines.push(line.to_owned())
        })
        .expect("it runs");
        assert_eq!(lines, ["a", "b", "", "c"]);
    }
}
