//! Kernels: WGSL files, and what is written before them.

use super::shader::{Part, Shader};

/// A kernel: a file with types and values for what it leaves open.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kernel {
    pub(super) shader: Shader,
    /// Files before it.
    pub(super) parts: Vec<Part>,
    /// Names for types, e.g. `T = f32`.
    pub(super) types: Vec<(&'static str, Elem)>,
    /// What is written before the file besides.
    pub(super) preamble: String,
    /// For the file's marks, in their order.
    pub(super) marks: Vec<(&'static str, String)>,
    /// The values of `override`s.
    pub(super) constants: Vec<(&'static str, f64)>,
    /// Buffers that it is given, parameters included.
    pub(super) bindings: usize,
}

/// How elements lie in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Elem {
    F32,
    F16,
    /// Whole numbers of any width.
    I32,
    /// Booleans, 0 or 1.
    U32,
}

impl Elem {
    pub(super) fn wgsl(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I32 => "i32",
            Self::U32 => "u32",
        }
    }

    /// Bytes of one.
    pub(super) fn size(self) -> usize {
        if self == Self::F16 { 2 } else { 4 }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16)
    }
}

impl Kernel {
    pub(super) fn new(shader: Shader, bindings: usize) -> Self {
        Self {
            shader,
            parts: Vec::new(),
            types: Vec::new(),
            preamble: String::new(),
            marks: Vec::new(),
            constants: Vec::new(),
            bindings,
        }
    }

    pub(super) fn after(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    pub(super) fn of(mut self, name: &'static str, elem: Elem) -> Self {
        self.types.push((name, elem));
        self
    }

    /// A kernel of rows, shared out as `lanes` does it.
    pub(super) fn by_rows(mut self, lanes: Part) -> Self {
        let alone = lanes == Part::LanesAlone;
        let entries = match lanes {
            Part::LanesAlone => "@builtin(global_invocation_id) id: vec3<u32>,",
            Part::LanesSubgroups => {
                "@builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) of_subgroup: u32,"
            }
            _ => {
                "@builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,"
            }
        };
        let entries = format!("{entries}\n    @builtin(num_workgroups) groups: vec3<u32>,");
        let mut begin = if alone {
            "let row = id.x + id.y * groups.x * 64u;\n    let lane = 0u;".to_owned()
        } else {
            "let row = group.x + group.y * groups.x;".to_owned()
        };
        if lanes == Part::LanesSubgroups {
            begin.push_str("\n    which = vec3<u32>(subgroup, subgroups, of_subgroup);");
        }
        self.marks.extend([("entries", entries), ("begin", begin)]);
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: f64) -> Self {
        self.constants.push((name, value));
        self
    }

    /// The whole text that is compiled.
    pub(super) fn source(&self) -> String {
        let mut text = String::new();
        if self.types.iter().any(|(_, elem)| *elem == Elem::F16) {
            text.push_str("enable f16;\n");
        }
        for (name, elem) in &self.types {
            text.push_str(&format!("alias {name} = {};\n", elem.wgsl()));
        }
        text.push_str(&self.preamble);
        for part in &self.parts {
            text.push_str(part.text());
        }
        let mut file = self.shader.file().1.to_owned();
        for (mark, with) in &self.marks {
            file = file.replace(&format!("//@ {mark}"), with);
        }
        text + &file
    }

    /// What tables call it: its file, and how it differs from others of the same file.
    pub(super) fn title(&self) -> String {
        let mut title = self.shader.name().to_owned();
        for part in &self.parts {
            match part {
                Part::LanesShared => title.push_str(" shared"),
                Part::LanesSubgroups => title.push_str(" subgroups"),
                _ => {}
            }
        }
        if self.constants.contains(&("PACKED", 0.0)) {
            title.push_str(" unpacked");
        }
        title
    }

    /// What tells two kernels apart.
    pub(super) fn key(&self) -> String {
        format!("{}\n{:?}\n{}", self.source(), self.constants, self.bindings)
    }
}

#[cfg(test)]
mod tests {
    use wgpu::naga;

    use super::*;

    /// The files that may stand before one, in every combination that is used.
    fn before(shader: Shader) -> Vec<Vec<Part>> {
        use Part::{Four, LanesAlone, LanesShared, LanesSubgroups, Math, OfBytes};
        match shader {
            Shader::Chain | Shader::Conv | Shader::Naive => vec![vec![Math]],
            Shader::Dots | Shader::DotsTiled => vec![vec![Math, OfBytes]],
            Shader::Integers => vec![vec![Math, Part::OfIntegers, Four]],
            Shader::Gemv | Shader::MatMul | Shader::Tiled | Shader::Wide => {
                let all = [Part::OfFloats, Part::OfIntegers, Part::OfWindow];
                all.into_iter().map(|of| vec![Math, of, Four]).collect()
            }
            Shader::Norm | Shader::Reduce | Shader::Softmax => {
                vec![vec![LanesAlone], vec![LanesShared], vec![LanesSubgroups]]
            }
            _ => vec![Vec::new()],
        }
    }

    /// Every file with every type that it is used with, and every activation: without an adapter.
    #[test]
    fn every_shader_is_valid() {
        for shader in Shader::ALL {
            let elems = match shader {
                Shader::ReduceWhole => &[Elem::I32][..],
                Shader::Arg
                | Shader::Chain
                | Shader::Copy
                | Shader::Cumulate
                | Shader::Fill
                | Shader::Gather
                | Shader::GatherElements
                | Shader::GatherNd
                | Shader::OneHot
                | Shader::Pad
                | Shader::Scatter
                | Shader::Top
                | Shader::Trilu => &[Elem::F32, Elem::F16, Elem::I32, Elem::U32],
                _ => &[Elem::F32, Elem::F16],
            };
            for (elem, parts) in
                elems.iter().flat_map(|e| before(shader).into_iter().map(move |p| (e, p)))
            {
                let mut kernel = Kernel::new(shader, 2);
                for name in ["T", "A", "W", "M", "O", "X"] {
                    kernel = kernel.of(name, *elem);
                }
                kernel = kernel.of("B", if elem.is_float() { Elem::F32 } else { *elem });
                kernel.preamble = "const WIDTH: u32 = 32u;\nconst DEPTH: u32 = 32u;\n".to_owned();
                kernel.marks = vec![("bindings", String::new()), ("body", String::new())];
                for part in &parts {
                    kernel = kernel.after(*part);
                }
                if let [lanes @ (Part::LanesAlone | Part::LanesShared | Part::LanesSubgroups)] =
                    parts[..]
                {
                    kernel = kernel.by_rows(lanes);
                }
                let source = kernel.source();
                let module = naga::front::wgsl::parse_str(&source)
                    .unwrap_or_else(|e| panic!("{}: {}", shader.name(), e.emit_to_string(&source)));
                let mut validator = naga::valid::Validator::new(
                    naga::valid::ValidationFlags::all(),
                    naga::valid::Capabilities::all(),
                );
                validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
                validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
                if let Err(e) = validator.validate(&module) {
                    panic!("{} of {elem:?}: {}", shader.name(), e.emit_to_string(&source));
                }
                let [main] = &module.entry_points[..] else {
                    panic!("{} has no single entrance", shader.name());
                };
                assert!(main.workgroup_size.iter().product::<u32>() <= 256);
            }
        }
    }
}
