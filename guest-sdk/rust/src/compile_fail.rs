//! What must not compile. Each of these compiles when the line with the remark is put right, which
//! the tutorial in `lib.rs` shows.

/// ```compile_fail
/// # use penstock_sdk::prelude::*;
/// #[derive(Row)]
/// struct Offer(bool); // a column needs a name
/// ```
///
/// ```compile_fail
/// # use penstock_sdk::prelude::*;
/// #[derive(Row)]
/// struct Offer {
///     #[column("a")]
///     b: bool,
///     a: bool, // twice
/// }
/// ```
///
/// ```compile_fail
/// # use penstock_sdk::prelude::*;
/// #[derive(State, Clone, Default)]
/// struct Last<'a> {
///     city: &'a str, // does not live as long as a state
/// }
/// ```
///
/// ```compile_fail
/// # use penstock_sdk::prelude::*;
/// #[derive(Output)]
/// struct Report {
///     window_start: Timestamp, // the host adds it
/// }
/// ```
///
/// ```compile_fail
/// # use penstock_sdk::prelude::*;
/// #[derive(Row)]
/// struct Offer {
///     at: std::time::Duration, // not the type of a column
/// }
/// ```
///
/// ```compile_fail
/// # use penstock_sdk::prelude::*;
/// #[derive(Output)]
/// struct Report {
///     twice: Option<Option<i64>>, // there is only one null
/// }
/// fn main() {
///     penstock_sdk::testing::columns([Report { twice: None }].into_iter());
///     penstock_sdk::native::schema_of::<Report>();
/// }
/// ```
pub(crate) struct Derives;
