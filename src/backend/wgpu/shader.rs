//! WGSL files, by name.

/// A WGSL file with an entrance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Shader {
    Arg,
    Attention,
    Chain,
    Conv,
    Copy,
    Cumulate,
    Dots,
    DotsTiled,
    Fill,
    Flash,
    Gather,
    GatherElements,
    GatherNd,
    Gemv,
    Integers,
    MatMul,
    Naive,
    Norm,
    OneHot,
    Pad,
    Peak,
    Pool,
    Quantise,
    Range,
    Reduce,
    ReduceWhole,
    Scale,
    Scatter,
    Softmax,
    Stream,
    Tiled,
    Top,
    Trilu,
    Wide,
}

/// A WGSL file that stands before others: what they leave open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// Functions that WGSL lacks, and activations.
    Math,
    /// How four columns of a product end.
    Four,
    /// What a product's second factor is.
    OfFloats,
    OfIntegers,
    OfWindow,
    OfBytes,
    /// How a row is shared out.
    LanesAlone,
    LanesShared,
    LanesSubgroups,
}

impl Part {
    const ALL: [Self; 9] = [
        Self::Math,
        Self::Four,
        Self::OfFloats,
        Self::OfIntegers,
        Self::OfWindow,
        Self::OfBytes,
        Self::LanesAlone,
        Self::LanesShared,
        Self::LanesSubgroups,
    ];

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Math => include_str!("shaders/math.wgsl"),
            Self::Four => include_str!("shaders/four.wgsl"),
            Self::OfFloats => include_str!("shaders/of_floats.wgsl"),
            Self::OfIntegers => include_str!("shaders/of_integers.wgsl"),
            Self::OfWindow => include_str!("shaders/of_window.wgsl"),
            Self::OfBytes => include_str!("shaders/of_bytes.wgsl"),
            Self::LanesAlone => include_str!("shaders/lanes_alone.wgsl"),
            Self::LanesShared => include_str!("shaders/lanes_shared.wgsl"),
            Self::LanesSubgroups => include_str!("shaders/lanes_subgroups.wgsl"),
        }
    }
}

impl Shader {
    pub(super) const ALL: [Self; 34] = [
        Self::Arg,
        Self::Attention,
        Self::Chain,
        Self::Conv,
        Self::Copy,
        Self::Cumulate,
        Self::Dots,
        Self::DotsTiled,
        Self::Fill,
        Self::Flash,
        Self::Gather,
        Self::GatherElements,
        Self::GatherNd,
        Self::Gemv,
        Self::Integers,
        Self::MatMul,
        Self::Naive,
        Self::Norm,
        Self::OneHot,
        Self::Pad,
        Self::Peak,
        Self::Pool,
        Self::Quantise,
        Self::Range,
        Self::Reduce,
        Self::ReduceWhole,
        Self::Scale,
        Self::Scatter,
        Self::Softmax,
        Self::Stream,
        Self::Tiled,
        Self::Top,
        Self::Trilu,
        Self::Wide,
    ];

    /// Its file's name without the ending, and its text.
    pub(super) fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Arg => ("arg", include_str!("shaders/arg.wgsl")),
            Self::Attention => ("attention", include_str!("shaders/attention.wgsl")),
            Self::Chain => ("chain", include_str!("shaders/chain.wgsl")),
            Self::Conv => ("conv", include_str!("shaders/conv.wgsl")),
            Self::Copy => ("copy", include_str!("shaders/copy.wgsl")),
            Self::Cumulate => ("cumulate", include_str!("shaders/cumulate.wgsl")),
            Self::Dots => ("dots", include_str!("shaders/dots.wgsl")),
            Self::DotsTiled => ("dots_tiled", include_str!("shaders/dots_tiled.wgsl")),
            Self::Fill => ("fill", include_str!("shaders/fill.wgsl")),
            Self::Flash => ("flash", include_str!("shaders/flash.wgsl")),
            Self::Gather => ("gather", include_str!("shaders/gather.wgsl")),
            Self::GatherElements => {
                ("gather_elements", include_str!("shaders/gather_elements.wgsl"))
            }
            Self::GatherNd => ("gather_nd", include_str!("shaders/gather_nd.wgsl")),
            Self::Gemv => ("gemv", include_str!("shaders/gemv.wgsl")),
            Self::Integers => ("integers", include_str!("shaders/integers.wgsl")),
            Self::MatMul => ("matmul", include_str!("shaders/matmul.wgsl")),
            Self::Naive => ("naive", include_str!("shaders/naive.wgsl")),
            Self::Norm => ("norm", include_str!("shaders/norm.wgsl")),
            Self::OneHot => ("one_hot", include_str!("shaders/one_hot.wgsl")),
            Self::Pad => ("pad", include_str!("shaders/pad.wgsl")),
            Self::Peak => ("peak", include_str!("shaders/peak.wgsl")),
            Self::Pool => ("pool", include_str!("shaders/pool.wgsl")),
            Self::Quantise => ("quantise", include_str!("shaders/quantise.wgsl")),
            Self::Range => ("range", include_str!("shaders/range.wgsl")),
            Self::Reduce => ("reduce", include_str!("shaders/reduce.wgsl")),
            Self::ReduceWhole => ("reduce_whole", include_str!("shaders/reduce_whole.wgsl")),
            Self::Scale => ("scale", include_str!("shaders/scale.wgsl")),
            Self::Scatter => ("scatter", include_str!("shaders/scatter.wgsl")),
            Self::Softmax => ("softmax", include_str!("shaders/softmax.wgsl")),
            Self::Stream => ("stream", include_str!("shaders/stream.wgsl")),
            Self::Tiled => ("tiled", include_str!("shaders/tiled.wgsl")),
            Self::Top => ("top", include_str!("shaders/top.wgsl")),
            Self::Trilu => ("trilu", include_str!("shaders/trilu.wgsl")),
            Self::Wide => ("wide", include_str!("shaders/wide.wgsl")),
        }
    }

    /// What tables call the kernel.
    pub(super) fn name(self) -> &'static str {
        self.file().0
    }

    /// Whether each of its reads and writes stays inside its buffers by its own arithmetic, so that the
    /// driver need not look: only the loops where that shows.
    pub(super) fn is_bounded(self) -> bool {
        matches!(
            self,
            Self::DotsTiled | Self::Gemv | Self::MatMul | Self::Peak | Self::Tiled | Self::Wide
        )
    }
}

/// The text of every file, one after the other: what choices between kernels hold for.
pub(super) fn every_text() -> String {
    let files = Shader::ALL.iter().map(|shader| shader.file().1);
    files.chain(Part::ALL.iter().map(|part| part.text())).collect()
}
