//! What an instance of a component takes before any of its code runs, seen from the component's bytes alone.
//!
//! The engine lays all elements of a module's segments out anew for each instance, in memory of the host that nothing else
//! counts. So they are counted before a component is compiled, each as often as its module is instantiated. What the bytes
//! say wrongly is left to the compiler, which refuses it.

use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentTypeRef, ElementItems, Encoding, Instance, Parser, Payload,
};

/// What an instance of a module or a component takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    /// Instances of modules.
    pub(super) modules: u64,
    /// Elements of all segments.
    pub(super) elements: u64,
    /// Memories of the module that has most.
    pub(super) memories: u64,
    /// Elements with which the largest table begins.
    pub(super) table: u64,
}

/// Modules or components, by index.
type Kinds = Vec<Footprint>;

/// A module or a component while it is read.
enum Frame {
    Module(Footprint),
    Component(Level),
}

/// What a component can instantiate, and what takes all that it does.
#[derive(Default)]
struct Level {
    modules: Kinds,
    components: Kinds,
    footprint: Footprint,
}

impl Footprint {
    /// The footprint of one instance of a component.
    pub(super) fn of(component: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut frames: Vec<Frame> = Vec::new();
        // What an index means that comes from elsewhere is not looked for: it may be any that there is.
        let mut largest = Level::default();
        let mut outermost = Self::default();
        for section in Parser::new(0).parse_all(component) {
            match section? {
                Payload::Version { encoding, .. } => frames.push(match encoding {
                    Encoding::Module => Frame::Module(Self {
                        modules: 1,
                        ..Self::default()
                    }),
                    Encoding::Component => Frame::Component(Level::default()),
                }),
                Payload::End(_) => {
                    let (is_module, footprint) = match frames.pop() {
                        Some(Frame::Module(footprint)) => (true, footprint),
                        Some(Frame::Component(level)) => (false, level.footprint),
                        None => break,
                    };
                    match frames.last_mut() {
                        Some(Frame::Component(level)) => level.kinds(is_module).push(footprint),
                        _ => outermost = footprint,
                    }
                    match largest.kinds(is_module).first_mut() {
                        Some(largest) => *largest = largest.or(footprint),
                        None => largest.kinds(is_module).push(footprint),
                    }
                }
                Payload::ComponentAliasSection(aliases) => {
                    for alias in aliases {
                        let Some((is_module, from)) = kind_of(&alias?) else {
                            continue;
                        };
                        let found = from.and_then(|(levels_up, index)| {
                            let at = frames.len().checked_sub(levels_up as usize + 1)?;
                            match frames.get_mut(at)? {
                                Frame::Component(level) => level.get(is_module, index),
                                Frame::Module(_) => None,
                            }
                        });
                        let any = largest.get(is_module, 0).unwrap_or_default();
                        if let Some(Frame::Component(level)) = frames.last_mut() {
                            level.kinds(is_module).push(found.unwrap_or(any));
                        }
                    }
                }
                section => match frames.last_mut() {
                    Some(Frame::Module(footprint)) => footprint.take_in(section)?,
                    Some(Frame::Component(level)) => level.take_in(section, &mut largest)?,
                    None => {}
                },
            }
        }
        Ok(outermost)
    }

    /// What both take together.
    fn and(self, other: Self) -> Self {
        Self {
            modules: self.modules.saturating_add(other.modules),
            elements: self.elements.saturating_add(other.elements),
            ..self.or(other)
        }
    }

    /// At least what either takes.
    fn or(self, other: Self) -> Self {
        Self {
            modules: self.modules.max(other.modules),
            elements: self.elements.max(other.elements),
            memories: self.memories.max(other.memories),
            table: self.table.max(other.table),
        }
    }

    /// What a section of a module says of it.
    fn take_in(&mut self, section: Payload<'_>) -> Result<(), BinaryReaderError> {
        match section {
            Payload::ElementSection(segments) => {
                for segment in segments {
                    let count = match segment?.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    };
                    self.elements = self.elements.saturating_add(count.into());
                }
            }
            Payload::MemorySection(memories) => self.memories += u64::from(memories.count()),
            Payload::TableSection(tables) => {
                for table in tables {
                    self.table = self.table.max(table?.ty.initial);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether an alias is of a module or a component, if it is of one, and how many levels up and by which index it is found.
fn kind_of(alias: &ComponentAlias<'_>) -> Option<(bool, Option<(u32, u32)>)> {
    match alias {
        ComponentAlias::Outer { kind, count, index } => match kind {
            ComponentOuterAliasKind::CoreModule => Some((true, Some((*count, *index)))),
            ComponentOuterAliasKind::Component => Some((false, Some((*count, *index)))),
            _ => None,
        },
        ComponentAlias::InstanceExport { kind, .. } => match kind {
            ComponentExternalKind::Module => Some((true, None)),
            ComponentExternalKind::Component => Some((false, None)),
            _ => None,
        },
        ComponentAlias::CoreInstanceExport { .. } => None,
    }
}

impl Level {
    fn kinds(&mut self, is_module: bool) -> &mut Kinds {
        match is_module {
            true => &mut self.modules,
            false => &mut self.components,
        }
    }

    fn get(&mut self, is_module: bool, index: u32) -> Option<Footprint> {
        self.kinds(is_module).get(index as usize).copied()
    }

    fn instantiate(&mut self, is_module: bool, index: u32) {
        let footprint = self.get(is_module, index).unwrap_or_default();
        self.footprint = self.footprint.and(footprint);
    }

    /// What a section of a component instantiates, or gives a further index.
    fn take_in(
        &mut self,
        section: Payload<'_>,
        largest: &mut Self,
    ) -> Result<(), BinaryReaderError> {
        match section {
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        self.instantiate(true, module_index);
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances {
                    if let ComponentInstance::Instantiate {
                        component_index, ..
                    } = instance?
                    {
                        self.instantiate(false, component_index);
                    }
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    let is_module = match import?.ty {
                        ComponentTypeRef::Module(_) => true,
                        ComponentTypeRef::Component(_) => false,
                        _ => continue,
                    };
                    let any = largest.get(is_module, 0).unwrap_or_default();
                    self.kinds(is_module).push(any);
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    let is_module = match export.kind {
                        ComponentExternalKind::Module => true,
                        ComponentExternalKind::Component => false,
                        _ => continue,
                    };
                    let exported = self.get(is_module, export.index).unwrap_or_default();
                    self.kinds(is_module).push(exported);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "(core module $m (func $f) (elem func $f $f $f) (elem func $f))";

    fn footprint(items: &str) -> Footprint {
        let component = wat::parse_str(format!("(component {items})")).unwrap();
        Footprint::of(&component).unwrap()
    }

    #[test]
    fn segments_count_as_often_as_their_module_is_instantiated() {
        let elements = |items: &str| {
            let footprint = footprint(&format!("{MODULE} {items}"));
            (footprint.modules, footprint.elements)
        };
        assert_eq!(elements(""), (0, 0));
        let twice = "(core module $n) (core instance (instantiate $n)) (core instance (instantiate $m)) (core instance (instantiate $m))";
        assert_eq!(elements(twice), (3, 8));
        // In a component of its own, which is instantiated twice, once by the index that its export has.
        let within = "(component $c (alias outer 1 $m (core module $o)) (core instance (instantiate $o)) (core instance (instantiate $o)))
                      (instance (instantiate $c)) (export $e \"c\" (component $c)) (instance (instantiate $e))";
        assert_eq!(elements(within), (4, 16));
    }

    #[test]
    fn memories_and_tables_are_those_of_the_module_that_has_most() {
        let found = footprint(
            "(core module $m (memory 1) (memory 1) (table 7 funcref)) (core module $n (table 9 funcref))
             (core instance (instantiate $m)) (core instance (instantiate $n)) (core instance (instantiate $n))",
        );
        let expected = Footprint {
            modules: 3,
            elements: 0,
            memories: 2,
            table: 9,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_cut_off_is_no_panic() {
        let whole = format!("(component {MODULE} (core instance (instantiate $m)))");
        let whole = wat::parse_str(whole).unwrap();
        for end in 0..whole.len() {
            let _ = Footprint::of(&whole[..end]);
        }
        assert_eq!(Footprint::of(&whole).unwrap().elements, 4);
    }
}
