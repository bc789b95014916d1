//! What a derive macro reads from a struct, and what it refuses.

use std::collections::HashSet;

use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Data, DeriveInput, Error, Field, Fields, GenericParam, Ident, Lifetime, LitStr, Result, Type,
    Visibility,
};

/// What a struct is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A row of an event, or a key.
    Row,
    /// The state of a group.
    State,
    /// A row of output.
    Output,
}

/// A struct whose fields are columns.
pub(crate) struct Shape<'a> {
    pub(crate) role: Role,
    pub(crate) name: &'a Ident,
    pub(crate) visibility: &'a Visibility,
    /// The struct's only parameter, if it has one.
    pub(crate) lifetime: Option<&'a Lifetime>,
    pub(crate) columns: Vec<Column<'a>>,
}

/// A field of the struct.
pub(crate) struct Column<'a> {
    pub(crate) field: &'a Ident,
    pub(crate) visibility: &'a Visibility,
    pub(crate) of: &'a Type,
    /// The column's name.
    pub(crate) name: LitStr,
}

impl<'a> Shape<'a> {
    pub(crate) fn of(input: &'a DeriveInput, role: Role) -> Result<Self> {
        let Data::Struct(data) = &input.data else {
            return Err(Error::new(
                input.ident.span(),
                "only a struct can be a record of columns",
            ));
        };
        let fields = match &data.fields {
            Fields::Named(fields) => fields.named.iter().collect(),
            Fields::Unit => Vec::new(),
            Fields::Unnamed(fields) => {
                return Err(Error::new(
                    fields.span(),
                    "name the fields: their names are the names of the columns",
                ));
            }
        };
        let columns = fields
            .into_iter()
            .map(Column::of)
            .collect::<Result<Vec<_>>>()?;
        let shape = Self {
            role,
            name: &input.ident,
            visibility: &input.vis,
            lifetime: lifetime(input, role)?,
            columns,
        };
        shape.check_names()?;
        Ok(shape)
    }

    fn check_names(&self) -> Result<()> {
        let mut seen = HashSet::new();
        for column in &self.columns {
            let name = column.name.value();
            if name.is_empty() {
                return Err(Error::new(column.name.span(), "a column needs a name"));
            }
            let is_the_hosts = matches!(
                name.as_str(),
                "window_start" | "window_end" | "revision" | "withdrawn"
            );
            if self.role == Role::Output && is_the_hosts {
                return Err(Error::new(
                    column.name.span(),
                    format!("the host adds `{name}` itself: rename the field, or remove it"),
                ));
            }
            if !seen.insert(name.clone()) {
                return Err(Error::new(
                    column.name.span(),
                    format!("there is another column `{name}`"),
                ));
            }
        }
        Ok(())
    }
}

/// The struct's lifetime; no other parameter is possible.
fn lifetime(input: &DeriveInput, role: Role) -> Result<Option<&Lifetime>> {
    let mut lifetime = None;
    for parameter in &input.generics.params {
        match parameter {
            GenericParam::Lifetime(parameter) if role == Role::Row && lifetime.is_none() => {
                lifetime = Some(&parameter.lifetime)
            }
            GenericParam::Lifetime(parameter) if role == Role::Row => {
                return Err(Error::new(
                    parameter.span(),
                    "one lifetime is enough: everything is borrowed from the same batch",
                ));
            }
            GenericParam::Lifetime(parameter) => {
                return Err(Error::new(
                    parameter.span(),
                    "a state or an output outlives the batch, so it cannot borrow from it: use String and Bytes",
                ));
            }
            other => {
                return Err(Error::new(
                    other.span(),
                    "a record of columns cannot have type or const parameters",
                ));
            }
        }
    }
    Ok(lifetime)
}

impl<'a> Column<'a> {
    fn of(field: &'a Field) -> Result<Self> {
        let ident = field
            .ident
            .as_ref()
            .ok_or_else(|| Error::new(field.span(), "name the field"))?;
        let mut name = LitStr::new(&ident.unraw().to_string(), ident.span());
        for attribute in &field.attrs {
            if attribute.path().is_ident("column") {
                name = attribute.parse_args().map_err(|error| {
                    Error::new(
                        error.span(),
                        "write the column's name as in #[column(\"name\")]",
                    )
                })?;
            }
        }
        if let Type::Reference(reference) = &field.ty
            && reference
                .lifetime
                .as_ref()
                .is_some_and(|lifetime| lifetime.ident == "static")
        {
            return Err(Error::new(
                field.ty.span(),
                "columns are read back as well: use String or Bytes instead of a 'static reference",
            ));
        }
        Ok(Self {
            field: ident,
            visibility: &field.vis,
            of: &field.ty,
            name,
        })
    }
}
