//! Projects as a newcomer has them: `penstock new`, `build`, `test`, `run` and `get`, for every language and
//! template, in a folder that is empty before.

use std::process::Command;

use crate::support::{Ended, Folder, root};

/// Runs `penstock` in a folder. What is installed goes where `cargo xtask transforms` has it.
fn penstock(folder: &Folder, within: &str, arguments: &[&str]) -> Ended {
    let target = root().join("target");
    let output = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(arguments)
        .current_dir(folder.path(within))
        .env("PENSTOCK_CACHE", target.join("test-cache"))
        .env("PENSTOCK_TOOLCHAINS", target.join("toolchains"))
        // Several projects in Rust build the SDK once.
        .env("CARGO_TARGET_DIR", target.join("projects"))
        .env_remove("PENSTOCK_LOG")
        .output();
    Ended::of(output.expect("the program starts"))
}

/// Begins a project, builds, tests and runs it.
fn project(language: &str, template: &str, feature: &str, value: &str) {
    let folder = Folder::new();
    let penstock = |within: &str, arguments: &[&str]| penstock(&folder, within, arguments);
    // Those that are built side by side in one folder must not have one name.
    let name = &format!("my-{template}");
    let begin = ["new", name, "--lang", language, "--template", template];
    penstock("", &begin).fine();
    penstock("", &begin).fails(2, &[&format!("{name} is there already")]);
    let built = penstock(name, &["build"]).fine();
    assert!(
        built.contains("pipeline    ") && built.contains(": fine"),
        "{built}"
    );
    penstock(name, &["test", "pipeline.toml"]).fine();
    penstock(name, &["run", "pipeline.toml"]).fine();
    let got = penstock(name, &["get", "customer", "c-17", feature]).fine();
    assert!(got.contains(value), "{got}");
    // The others take as long for a second build as for the first.
    if language == "c" {
        let round = penstock(name, &["dev", "pipeline.toml", "--once"]).fine();
        assert!(round.contains("basic"), "{round}");
    }
}

/// Something that a beginner adds to the template, and what is said of it.
struct Mistake {
    /// What is looked for in the source, and what is put behind it.
    edits: Vec<[&'static str; 2]>,
    /// The text whose line is to be named; none where the language cannot.
    line_of: Option<&'static str>,
    said: &'static str,
}

/// The beginner's mistakes in a language: columns that are not there or of another type are told by `penstock build`, what
/// is thrown by `penstock test`; each with the line, where the language knows it.
fn mistakes(language: &str, file: &str, columns: &[Mistake], thrown: &[Mistake]) {
    let folder = Folder::new();
    let name = &format!("wrong-{language}");
    penstock(&folder, "", &["new", name, "--lang", language]).fine();
    let path = folder.path(name).join(file);
    let source = std::fs::read_to_string(&path).unwrap();
    let make = |mistake: &Mistake| {
        let mut source = source.clone();
        for [after, added] in &mistake.edits {
            assert!(source.contains(after), "{source}");
            source = source.replacen(after, &format!("{after}{added}"), 1);
        }
        std::fs::write(&path, &source).unwrap();
        let short = file.rsplit('/').next().unwrap();
        mistake.line_of.map(|text| {
            let line = source.lines().position(|line| line.contains(text));
            format!("{short}:{}", 1 + line.expect("it is in the source"))
        })
    };
    let told = |ended: &Ended, mistake: &Mistake, place: Option<String>| {
        let all = ended.stdout() + &ended.stderr();
        assert_ne!(ended.code(), Some(0), "{all}");
        for part in [Some(mistake.said.to_owned()), place].iter().flatten() {
            assert!(all.contains(part), "{language}: `{part}` is not in:\n{all}");
        }
    };
    for mistake in columns {
        let place = make(mistake);
        told(&penstock(&folder, name, &["build"]), mistake, place);
    }
    for mistake in thrown {
        let place = make(mistake);
        penstock(&folder, name, &["build"]).fine();
        let tested = penstock(&folder, name, &["test", "pipeline.toml"]);
        told(&tested, mistake, place);
    }
}

/// There is no such column.
const MISSING: &str = "event `order` has no column `voucher`";
/// There is one, but its type is another.
const MISTYPED: &str = "has a column `customer` of type utf8, but";

#[test]
fn mistakes_in_rust_are_told_with_their_place() {
    let column = |added, said| Mistake {
        edits: vec![["    coupon: Option<&'a str>,\n", added]],
        line_of: None,
        said,
    };
    mistakes(
        "rust",
        "src/lib.rs",
        &[
            column("    voucher: Option<&'a str>,\n", MISSING),
            column("    customer: i64,\n", MISTYPED),
        ],
        &[Mistake {
            edits: vec![[
                "        state.orders += 1;\n",
                "        assert!(state.orders == 0, \"out of paper\");\n",
            ]],
            line_of: Some("out of paper"),
            said: "out of paper",
        }],
    );
}

#[test]
fn mistakes_in_c_are_told_with_their_place() {
    let column = |added, line_of, said| Mistake {
        edits: vec![[
            "    penstock_opt_text coupon;\n} Order;\nstatic const penstock_column ORDER[] = {\n",
            added,
        ]],
        line_of: Some(line_of),
        said,
    };
    mistakes(
        "c",
        "transform.c",
        &[
            column(
                "    PENSTOCK_COLUMN_AS(\"voucher\", Order, coupon),\n",
                "\"voucher\"",
                MISSING,
            ),
            column(
                "    PENSTOCK_COLUMN_AS(\"customer\", Order, amount_cents),\n",
                "\"customer\"",
                MISTYPED,
            ),
        ],
        // Where WebAssembly traps, or a function fails, nobody in C knows the line.
        &[Mistake {
            edits: vec![[
                "    orders->orders += 1;\n",
                "    if (orders->orders > 0) return penstock_fail(\"out of paper\");\n",
            ]],
            line_of: None,
            said: "out of paper",
        }],
    );
}

#[test]
fn mistakes_in_go_are_told_with_their_place() {
    // The line is that of the export: reflection does not know where a field was written, but what it is called.
    let column = |added, said| Mistake {
        edits: vec![["Coupon      penstock.Null[string]\n", added]],
        line_of: Some("window.Export["),
        said,
    };
    mistakes(
        "go",
        "transform.go",
        &[
            column("\tVoucher penstock.Null[string]\n", MISSING),
            column("\tCustomer int64\n", "Order.Customer expects int64"),
        ],
        &[
            Mistake {
                edits: vec![[
                    "\tstate.Orders++\n",
                    "\tif state.Orders > 0 {\n\t\tpanic(\"out of paper\")\n\t}\n",
                ]],
                line_of: Some("out of paper"),
                said: "out of paper",
            },
            // It is Go's own library that panics, and the author's line that is told.
            Mistake {
                edits: vec![
                    ["import (\n", "\t\"strings\"\n"],
                    [
                        "\tstate.Orders++\n",
                        "\tstate.Cents += int64(len(strings.Repeat(\"-\", -int(state.Orders))))\n",
                    ],
                ],
                line_of: Some("strings.Repeat"),
                said: "negative Repeat count",
            },
        ],
    );
}

#[test]
fn mistakes_in_javascript_are_told_with_their_place() {
    // The line is that of the definition: columns are properties of an object, which has none.
    let column = |added, said| Mistake {
        edits: vec![[
            "amount_cents: int64.asNumber, coupon: nullable(utf8)",
            added,
        ]],
        line_of: Some("window({"),
        said,
    };
    mistakes(
        "javascript",
        "transform.js",
        &[
            column(", voucher: nullable(utf8)", MISSING),
            column(", customer: float64", MISTYPED),
        ],
        &[Mistake {
            edits: vec![[
                "    state.orders += 1;\n",
                "    if (state.orders > 0) throw new Error(\"out of paper\");\n",
            ]],
            line_of: Some("out of paper"),
            said: "Error: out of paper",
        }],
    );
}

#[test]
fn mistakes_in_python_are_told_with_their_place() {
    let column = |added, line_of, said| Mistake {
        edits: vec![["    coupon: str | None\n", added]],
        line_of: Some(line_of),
        said,
    };
    mistakes(
        "python",
        "transform.py",
        &[
            column("    voucher: str | None\n", "voucher:", MISSING),
            column("    customer: int\n", "customer:", MISTYPED),
        ],
        &[Mistake {
            edits: vec![[
                "        state.orders += 1\n",
                "        from datetime import datetime\n        state.cents += int(datetime.now().timestamp())\n",
            ]],
            line_of: Some("datetime.now()"),
            said: "a transform has no clock",
        }],
    );
}

macro_rules! projects {
    ($($language:ident),*) => {
        $(mod $language {
            #[test]
            fn a_new_window_works() {
                super::project(stringify!($language), "window", "customer_mean_order_1h", "2500.0");
            }

            #[test]
            fn a_new_mapper_works() {
                super::project(stringify!($language), "mapper", "customer_last_amount", "10.0");
            }
        })*
    };
}

projects!(rust, c, go, javascript, python);
