//! What a machine must have to build and test, and how it gets what it lacks.
//!
//! Installed without asking is only what comes from rustup, or from apt-get where this user may use it without a
//! password. Everything else is named, all at once, with the command that installs it.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use crate::command;

/// Something that a machine must have.
#[derive(Debug)]
pub(crate) struct Part {
    name: &'static str,
    present: fn() -> bool,
    comes_from: ComesFrom,
}

#[derive(Debug)]
enum ComesFrom {
    /// The arguments of rustup that install it.
    Rustup(&'static [&'static str]),
    /// Debian's packages, and for other systems a program that tells the system, and the command.
    System {
        apt: &'static [&'static str],
        elsewhere: &'static [(&'static str, &'static str)],
    },
}

/// A linker for this machine. Cargo needs it to build this very program, so `.ci/run` looks for it too.
pub(crate) const LINKER: Part = Part {
    name: "a C compiler and linker (cc)",
    present: || command::succeeds("cc", &["--version"]),
    comes_from: ComesFrom::System {
        apt: &["gcc", "libc6-dev"],
        elsewhere: &[
            ("dnf", "sudo dnf install gcc"),
            ("pacman", "sudo pacman -S gcc"),
            ("zypper", "sudo zypper install gcc"),
            ("apk", "sudo apk add build-base"),
            ("xcode-select", "xcode-select --install"),
        ],
    },
};

/// What librdkafka, the client of Kafka, is built with: its sources come with its crate.
pub(crate) const LIBRDKAFKA: Part = Part {
    name: "make, a C++ compiler, pkg-config and OpenSSL's headers (for librdkafka)",
    present: || {
        command::succeeds("make", &["--version"])
            && command::succeeds("c++", &["--version"])
            && command::succeeds("pkg-config", &["--exists", "openssl"])
    },
    comes_from: ComesFrom::System {
        apt: &["make", "g++", "pkg-config", "libssl-dev"],
        elsewhere: &[
            ("dnf", "sudo dnf install make gcc-c++ pkgconf openssl-devel"),
            ("pacman", "sudo pacman -S make gcc pkgconf openssl"),
            (
                "zypper",
                "sudo zypper install make gcc-c++ pkgconf libopenssl-devel",
            ),
            ("apk", "sudo apk add bash build-base pkgconf openssl-dev"),
            ("brew", "brew install pkgconf openssl"),
        ],
    },
};

/// Rust's standard library for transforms.
pub(crate) const WASM_TARGET: Part = Part {
    name: "the Rust target wasm32-unknown-unknown",
    present: || has_target("wasm32-unknown-unknown"),
    comes_from: ComesFrom::Rustup(&["target", "add", "wasm32-unknown-unknown"]),
};

/// Rust's standard library for the tests' guests that insist on WASI.
pub(crate) const WASI_TARGET: Part = Part {
    name: "the Rust target wasm32-wasip2",
    present: || has_target("wasm32-wasip2"),
    comes_from: ComesFrom::Rustup(&["target", "add", "wasm32-wasip2"]),
};

/// Redis, which serving is measured beside.
pub(crate) const REDIS: Part = Part {
    name: "redis-server",
    present: || command::succeeds("redis-server", &["--version"]),
    comes_from: ComesFrom::System {
        apt: &["redis-server"],
        elsewhere: &[
            ("dnf", "sudo dnf install redis"),
            ("pacman", "sudo pacman -S redis"),
            ("zypper", "sudo zypper install redis"),
            ("apk", "sudo apk add redis"),
            ("brew", "brew install redis"),
        ],
    },
};

/// Python, which a server of the tests is written in.
pub(crate) const PYTHON: Part = Part {
    name: "Python 3 with venv",
    present: || command::succeeds("python3", &["-c", "import venv, ensurepip"]),
    comes_from: ComesFrom::System {
        apt: &["python3", "python3-venv"],
        elsewhere: &[
            ("dnf", "sudo dnf install python3"),
            ("pacman", "sudo pacman -S python"),
            ("zypper", "sudo zypper install python3"),
            ("apk", "sudo apk add python3"),
            ("brew", "brew install python"),
        ],
    },
};

/// Java, which Kafka and DynamoDB Local run on.
pub(crate) const JAVA: Part = Part {
    name: "Java 17 or newer",
    present: has_java,
    comes_from: ComesFrom::System {
        apt: &["default-jre-headless"],
        elsewhere: &[
            ("dnf", "sudo dnf install java-latest-openjdk-headless"),
            ("pacman", "sudo pacman -S jre-openjdk-headless"),
            ("zypper", "sudo zypper install java-21-openjdk-headless"),
            ("apk", "sudo apk add openjdk21-jre-headless"),
            ("brew", "brew install openjdk"),
        ],
    },
};

/// Maven, which Kafka is had by.
pub(crate) const MAVEN: Part = Part {
    name: "Maven",
    present: || command::succeeds("mvn", &["--version"]),
    comes_from: ComesFrom::System {
        apt: &["maven"],
        elsewhere: &[
            ("dnf", "sudo dnf install maven"),
            ("pacman", "sudo pacman -S maven"),
            ("zypper", "sudo zypper install maven"),
            ("apk", "sudo apk add maven"),
            ("brew", "brew install maven"),
        ],
    },
};

/// Node.js, which a server of the tests is written in, and npm, which two are had by.
pub(crate) const NODE: Part = Part {
    name: "Node.js and npm",
    present: || {
        command::succeeds("node", &["--version"]) && command::succeeds("npm", &["--version"])
    },
    comes_from: ComesFrom::System {
        apt: &["nodejs", "npm"],
        elsewhere: &[
            ("dnf", "sudo dnf install nodejs npm"),
            ("pacman", "sudo pacman -S nodejs npm"),
            ("zypper", "sudo zypper install nodejs npm"),
            ("apk", "sudo apk add nodejs npm"),
            ("brew", "brew install node"),
        ],
    },
};

/// CMake, by which the headers for C and C++ are installed.
pub(crate) const CMAKE: Part = Part {
    name: "CMake",
    present: || command::succeeds("cmake", &["--version"]),
    comes_from: ComesFrom::System {
        apt: &["cmake"],
        elsewhere: &[
            ("dnf", "sudo dnf install cmake"),
            ("pacman", "sudo pacman -S cmake"),
            ("zypper", "sudo zypper install cmake"),
            ("apk", "sudo apk add cmake"),
            ("brew", "brew install cmake"),
        ],
    },
};

/// The formatter.
pub(crate) const RUSTFMT: Part = Part {
    name: "rustfmt",
    present: || command::succeeds("cargo", &["fmt", "--version"]),
    comes_from: ComesFrom::Rustup(&["component", "add", "rustfmt"]),
};

/// The lints.
pub(crate) const CLIPPY: Part = Part {
    name: "clippy",
    present: || command::succeeds("cargo", &["clippy", "--version"]),
    comes_from: ComesFrom::Rustup(&["component", "add", "clippy"]),
};

const RUSTUP_INSTALL: &str = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh";

/// Installs what is missing of `parts`.
///
/// # Errors
///
/// If something cannot be installed from here: everything of that kind, each with the command that installs it.
pub(crate) fn prepare(parts: &[Part]) -> Result<()> {
    let missing: Vec<&Part> = parts.iter().filter(|part| !(part.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let machine = Machine::look();
    let mut left_to_the_reader = Vec::new();
    for part in missing {
        match machine.remedy(part) {
            Remedy::Run(commands) => {
                println!("{} is missing and will be installed", part.name);
                for words in commands {
                    command::run(Command::new(&words[0]).args(&words[1..]))?;
                }
                if !(part.present)() {
                    bail!("{} is still missing after these commands", part.name);
                }
            }
            Remedy::Tell(command) => left_to_the_reader.push(format!("  {}: {command}", part.name)),
        }
    }
    if left_to_the_reader.is_empty() {
        return Ok(());
    }
    bail!(
        "this machine lacks something; install it and start again:\n{}",
        left_to_the_reader.join("\n")
    );
}

/// The version is told on standard error, which only a shell reads for us; macOS has a `java` that only asks for Java.
fn has_java() -> bool {
    let told = command::output(Command::new("sh").args(["-c", "java -version 2>&1"]));
    told.is_ok_and(|told| java_release(&told).is_some_and(|release| release >= 17))
}

/// The 17 of `openjdk version "17.0.15" 2025-04-15`.
fn java_release(told: &str) -> Option<u32> {
    let (_, version) = told.split_once("version \"")?;
    let release = version.split(|c: char| !c.is_ascii_digit()).next()?;
    release.parse().ok()
}

fn has_target(target: &str) -> bool {
    // Asking rustc rather than rustup finds the target of a distribution's own Rust, too.
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]);
    command::output(&mut rustc).is_ok_and(|folder| Path::new(folder.trim_end()).is_dir())
}

impl Part {
    /// Whether it is the same thing.
    pub(crate) fn is(&self, other: &Part) -> bool {
        self.name == other.name
    }
}

/// What decides how things are installed here.
#[derive(Debug)]
struct Machine {
    rustup: bool,
    apt: bool,
    rights: Rights,
    has: fn(&str) -> bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    Root,
    SudoWithoutPassword,
    None,
}

#[derive(Debug, PartialEq, Eq)]
enum Remedy {
    Run(Vec<Vec<String>>),
    Tell(String),
}

impl Machine {
    fn look() -> Self {
        let user = command::output(Command::new("id").arg("-u"));
        let rights = match user {
            Ok(user) if user.trim_end() == "0" => Rights::Root,
            _ if command::succeeds("sudo", &["-n", "true"]) => Rights::SudoWithoutPassword,
            _ => Rights::None,
        };
        Machine {
            rustup: command::succeeds("rustup", &["--version"]),
            apt: command::succeeds("apt-get", &["--version"]),
            rights,
            has: |program| command::succeeds("which", &[program]),
        }
    }

    fn remedy(&self, part: &Part) -> Remedy {
        match part.comes_from {
            ComesFrom::Rustup(arguments) if self.rustup => {
                Remedy::Run(vec![words(&["rustup"], arguments)])
            }
            ComesFrom::Rustup(arguments) => Remedy::Tell(format!(
                "{RUSTUP_INSTALL}\n    and then: rustup {}",
                arguments.join(" ")
            )),
            ComesFrom::System { apt, .. } if self.apt => self.apt_get(apt),
            ComesFrom::System { apt, elsewhere } => {
                let found = elsewhere.iter().find(|(program, _)| (self.has)(program));
                Remedy::Tell(found.map_or_else(
                    || {
                        format!(
                            "with your system's package manager (Debian calls it {})",
                            apt.join(" and ")
                        )
                    },
                    |(_, command)| (*command).to_owned(),
                ))
            }
        }
    }

    fn apt_get(&self, packages: &[&str]) -> Remedy {
        let apt_get: &[&str] = &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
        let apt_get = match self.rights {
            Rights::Root => apt_get.to_vec(),
            Rights::SudoWithoutPassword => [&["sudo", "-n"], apt_get].concat(),
            Rights::None => {
                return Remedy::Tell(format!("sudo apt-get install {}", packages.join(" ")));
            }
        };
        let install = words(&apt_get, &["install", "--yes", "--no-install-recommends"]);
        let packages = packages.iter().map(|&package| package.to_owned());
        Remedy::Run(vec![
            words(&apt_get, &["update"]),
            install.into_iter().chain(packages).collect(),
        ])
    }
}

fn words(program: &[&str], arguments: &[&str]) -> Vec<String> {
    program
        .iter()
        .chain(arguments)
        .map(|&word| word.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian(rights: Rights) -> Machine {
        Machine {
            rustup: true,
            apt: true,
            rights,
            has: |_| false,
        }
    }

    #[track_caller]
    fn runs(remedy: Remedy, expected: &[&str]) {
        let Remedy::Run(commands) = remedy else {
            panic!("{remedy:?}")
        };
        let commands: Vec<String> = commands.iter().map(|words| words.join(" ")).collect();
        assert_eq!(commands, expected);
    }

    #[track_caller]
    fn tells(remedy: Remedy, expected: &str) {
        let Remedy::Tell(told) = remedy else {
            panic!("{remedy:?}")
        };
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn rustup_installs_or_is_named_itself() {
        runs(
            debian(Rights::None).remedy(&WASM_TARGET),
            &["rustup target add wasm32-unknown-unknown"],
        );
        let without = Machine {
            rustup: false,
            ..debian(Rights::Root)
        };
        tells(
            without.remedy(&WASM_TARGET),
            "sh.rustup.rs | sh\n    and then: rustup target add wasm32",
        );
        tells(without.remedy(&CLIPPY), "rustup component add clippy");
    }

    #[test]
    fn apt_get_runs_only_for_whom_it_may() {
        runs(
            debian(Rights::Root).remedy(&LINKER),
            &[
                "env DEBIAN_FRONTEND=noninteractive apt-get update",
                "env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends gcc libc6-dev",
            ],
        );
        runs(
            debian(Rights::SudoWithoutPassword).remedy(&LINKER),
            &[
                "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get update",
                "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends gcc libc6-dev",
            ],
        );
        tells(
            debian(Rights::None).remedy(&LINKER),
            "sudo apt-get install gcc libc6-dev",
        );
    }

    #[test]
    fn other_systems_get_their_own_command() {
        let machine = |has| Machine {
            rustup: true,
            apt: false,
            rights: Rights::Root,
            has,
        };
        tells(
            machine(|program| program == "dnf").remedy(&LINKER),
            "sudo dnf install gcc",
        );
        tells(
            machine(|program| program == "xcode-select").remedy(&LINKER),
            "xcode-select --install",
        );
        tells(machine(|_| false).remedy(&LINKER), "package manager");
    }

    #[test]
    fn the_release_of_java_is_read() {
        for (told, release) in [
            (
                "openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime",
                Some(17),
            ),
            (
                "Picked up _JAVA_OPTIONS: -Xmx1g\njava version \"21\" 2023-09-19 LTS",
                Some(21),
            ),
            ("java version \"1.8.0_402\"", Some(1)),
            ("The operation couldn\u{2019}t be completed.", None),
        ] {
            assert_eq!(java_release(told), release, "{told}");
        }
    }

    #[test]
    fn what_is_there_needs_nothing() {
        prepare(&[Part {
            name: "air",
            present: || true,
            comes_from: ComesFrom::Rustup(&[]),
        }])
        .expect("nothing is missing");
    }
}
