//! The results of tests as JUnit XML, as servers of continuous integration read them.
//!
//! One suite, named after the pipeline; a test case for each check of each case.

use std::path::Path;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{CaseReport, TestError};

/// Writes the file, aside first and then into its place.
///
/// # Errors
///
/// The file cannot be written.
pub fn write(path: &Path, pipeline: &str, cases: &[CaseReport]) -> Result<(), TestError> {
    super::bless::write_whole(path, to_xml(pipeline, cases).as_bytes())
}

fn to_xml(pipeline: &str, cases: &[CaseReport]) -> String {
    let mut suite = TestSuite::new(pipeline);
    for case in cases {
        let name = |check: &str| match case.name.is_empty() {
            true => check.to_owned(),
            false => format!("{}/{check}", case.name),
        };
        // Checks of a case share its time, so that the sum is right.
        let results = case.checks.len() + usize::from(case.error.is_some());
        let time = case.elapsed / u32::try_from(results.max(1)).unwrap_or(u32::MAX);
        let mut add = |name: String, status: TestCaseStatus| {
            let mut one = TestCase::new(name, status);
            one.set_classname(pipeline);
            one.set_time(time);
            suite.add_test_case(one);
        };
        for check in &case.checks {
            let mut status = match check.passed {
                true => TestCaseStatus::success(),
                false => TestCaseStatus::non_success(NonSuccessKind::Failure),
            };
            if !check.passed {
                status.set_message(check.summary.as_str());
                status.set_type(check.name);
                status.set_description(check.detail.as_str());
            }
            add(name(check.name), status);
        }
        if let Some(error) = &case.error {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            let text = error.to_string();
            status.set_message(text.lines().next().unwrap_or_default());
            status.set_description(text);
            add(name("run"), status);
        }
    }
    let mut report = Report::new("penstock test");
    report.set_time(cases.iter().map(|case| case.elapsed).sum());
    report.add_test_suite(suite);
    report
        .to_string()
        .expect("names and texts are always XML once escaped")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Check;
    use super::*;

    #[test]
    fn every_check_is_a_test_case_with_its_failure() {
        let check = |name, passed| Check {
            name,
            passed,
            summary: "1 values <differ>".into(),
            detail: "entity  \u{1b}[1m\n".into(),
            data: serde_json::Value::Null,
        };
        let case = |name: &str, checks, error| CaseReport {
            name: name.into(),
            description: String::new(),
            checks,
            blessed: Vec::new(),
            error,
            elapsed: Duration::from_millis(1500),
        };
        let cases = [
            case(
                "late",
                vec![check("features", true), check("purity", false)],
                None,
            ),
            case("bad", vec![], Some(TestError::Asked("no & such".into()))),
        ];
        let xml = to_xml("rides", &cases);
        for part in [
            "tests=\"3\"",
            "failures=\"1\"",
            "errors=\"1\"",
            "name=\"late/features\"",
            "name=\"late/purity\"",
            "1 values &lt;differ&gt;",
            "name=\"bad/run\"",
            "no &amp; such",
            "time=\"0.750\"",
        ] {
            assert!(xml.contains(part), "{part} is not in {xml}");
        }
        assert!(!xml.contains('\u{1b}'), "no control characters: {xml}");
    }
}
