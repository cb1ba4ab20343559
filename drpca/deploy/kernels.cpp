// What takes a network's time on a processor, in float32: features are (batch, height, width, channels), channels
// multiples of WIDTH. kernels.py gives the shapes and the order of the weights.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#ifdef __AVX512F__
constexpr int WIDTH = 16, ROWS = 12;  // of a register; tiles of a product, as many as there are registers for
#else
constexpr int WIDTH = 8, ROWS = 6;
#endif
constexpr int64_t MOST = 24;   // tiles of a block
constexpr int64_t APART = 16;  // keeps the 36 parts of a transform from falling into the same lines of the cache
typedef float Reg __attribute__((vector_size(4 * WIDTH)));
typedef float Unaligned __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

static inline Reg load(const float *p) { return *(const Unaligned *)p; }
static inline void store(float *p, Reg v) { *(Unaligned *)p = v; }

// 3 x 3 convolutions by F(4 x 4, 3 x 3) (Lavin and Gray, CVPR 2016), with bias and activation: a tile of 4 x 4 outputs of
// all channels takes 36 products of its transformed 6 x 6 inputs with the transformed weights, a quarter of the
// multiplications of nine taps. Tiles are computed in blocks whose transforms stay in a core's cache.
//
// One dimension of the transforms, with the points 0, 1, -1, 2, -2 and infinity
static inline void transform_input(const Reg *x, int step, Reg *y) {
    const Reg a = x[4 * step] - 4 * x[2 * step], b = x[3 * step] - 4 * x[step];
    const Reg c = x[4 * step] - x[2 * step], d = 2 * (x[3 * step] - x[step]);
    y[0] = 4 * x[0] - 5 * x[2 * step] + x[4 * step];
    y[1] = a + b, y[2] = a - b, y[3] = c + d, y[4] = c - d;
    y[5] = 4 * x[step] - 5 * x[3 * step] + x[5 * step];
}

static inline void transform_output(const Reg *x, int step, Reg *y) {
    const Reg a = x[step] + x[2 * step], b = x[step] - x[2 * step];
    const Reg c = x[3 * step] + x[4 * step], d = x[3 * step] - x[4 * step];
    y[0] = x[0] + a + c, y[1] = b + 2 * d, y[2] = a + 4 * c, y[3] = b + 8 * d + x[5 * step];
}

// ROWS tiles of `in` channels times the weights of N registers of output channels
template <int N>
static inline void multiply(const float *tiles, int64_t in, const float *weights, float *products, int64_t out) {
    Reg sum[ROWS][N] = {};
    for (int64_t i = 0; i < in; i++, weights += N * WIDTH) {
        Reg w[N];
        for (int n = 0; n < N; n++) w[n] = load(weights + n * WIDTH);
#pragma GCC unroll 12
        for (int r = 0; r < ROWS; r++)
            for (int n = 0; n < N; n++) sum[r][n] += tiles[r * in + i] * w[n];
    }
    for (int r = 0; r < ROWS; r++)
        for (int n = 0; n < N; n++) store(products + r * out + n * WIDTH, sum[r][n]);
}

struct Tile {
    int64_t image, top, left;  // of its outputs
    Tile(int64_t index, int64_t down, int64_t across)
        : image(index / (down * across)), top(index / across % down * 4), left(index % across * 4) {}
};

extern "C" void convolve(const float *x, const float *weights, const float *bias, float *y, int64_t batch,
                         int64_t height, int64_t width, int64_t in, int64_t out, float slope, int threads) {
    const int64_t down = (height + 3) / 4, across = (width + 3) / 4, all = batch * down * across;
    if (all == 0) return;
    const int64_t share = (all + 2 * threads - 1) / (2 * threads);
    const int64_t size = std::min(MOST, (share + ROWS - 1) / ROWS * ROWS);
    const int64_t from_in = size * in + APART, from_out = size * out + APART;
    const int64_t blocks = (all + size - 1) / size;
#pragma omp parallel num_threads(threads)
    {
        static thread_local std::vector<float> memory;
        memory.resize(std::max<size_t>(memory.size(), 36 * (from_in + from_out + in)));
        float *inputs = memory.data(), *products = inputs + 36 * from_in, *padded = products + 36 * from_out;
#pragma omp for schedule(dynamic)
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t first = block * size, count = std::min(size, all - first);
            for (int64_t t = 0; t < count; t++) {
                const Tile tile(first + t, down, across);
                const int64_t top = tile.top - 1, left = tile.left - 1;
                const float *from = x + ((tile.image * height + top) * width + left) * in;
                int64_t line = width * in;
                if (top < 0 || left < 0 || top + 6 > height || left + 6 > width) {
                    memset(padded, 0, 36 * in * sizeof(float));
                    for (int64_t i = std::max<int64_t>(0, -top); i < std::min<int64_t>(6, height - top); i++)
                        for (int64_t j = std::max<int64_t>(0, -left); j < std::min<int64_t>(6, width - left); j++)
                            memcpy(padded + (i * 6 + j) * in, from + i * line + j * in, in * sizeof(float));
                    from = padded;
                    line = 6 * in;
                }
                for (int64_t c = 0; c < in; c += WIDTH) {
                    Reg half[6][6], values[6];
                    for (int j = 0; j < 6; j++) {
                        for (int i = 0; i < 6; i++) values[i] = load(from + i * line + j * in + c);
                        transform_input(values, 1, half[j]);
                    }
                    for (int i = 0; i < 6; i++) {
                        transform_input(&half[0][i], 6, values);
                        for (int j = 0; j < 6; j++) store(inputs + (i * 6 + j) * from_in + t * in + c, values[j]);
                    }
                }
            }
            for (int part = 0; part < 36; part++)
                for (int64_t n = 0; n < out; n += 2 * WIDTH)
                    for (int64_t t = 0; t < count; t += ROWS) {
                        const float *a = inputs + part * from_in + t * in, *b = weights + (part * out + n) * in;
                        float *to = products + part * from_out + t * out + n;
                        if (out - n > WIDTH) multiply<2>(a, in, b, to, out);
                        else multiply<1>(a, in, b, to, out);
                    }
            for (int64_t t = 0; t < count; t++) {
                const Tile tile(first + t, down, across);
                const int64_t rows = std::min<int64_t>(4, height - tile.top);
                const int64_t columns = std::min<int64_t>(4, width - tile.left);
                float *to = y + ((tile.image * height + tile.top) * width + tile.left) * out;
                for (int64_t c = 0; c < out; c += WIDTH) {
                    Reg half[6][4], values[6];
                    for (int j = 0; j < 6; j++) {
                        for (int i = 0; i < 6; i++) values[i] = load(products + (i * 6 + j) * from_out + t * out + c);
                        transform_output(values, 1, half[j]);
                    }
                    const Reg b = load(bias + c);
                    for (int i = 0; i < rows; i++) {
                        transform_output(&half[0][i], 4, values);
                        for (int j = 0; j < columns; j++) {
                            const Reg v = values[j] + b;
                            store(to + (i * width + j) * out + c, v > 0 ? v : slope == 0 ? Reg{} : slope * v);
                        }
                    }
                }
            }
        }
    }
}

// 3 x 3 convolution to one channel, with weights of each image
extern "C" void convolve_to_one(const float *x, const float *weights, float bias, float *y, int64_t batch,
                                int64_t height, int64_t width, int64_t in, int threads) {
    constexpr int PIXELS = 8;  // computed together
    const std::vector<float> outside(in, 0.0f);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 8)
    for (int64_t row = 0; row < batch * height; row++) {
        const int64_t image = row / height, top = row % height - 1;
        for (int64_t left = 0; left < width; left += PIXELS) {
            Reg sum[PIXELS] = {};
            for (int i = 0; i < 3; i++) {
                if (top + i < 0 || top + i >= height) continue;
                const float *line = x + (row - 1 + i) * width * in, *at[PIXELS + 2];
                for (int j = 0; j < PIXELS + 2; j++) {
                    const int64_t column = left - 1 + j;
                    at[j] = column < 0 || column >= width ? outside.data() : line + column * in;
                }
                const float *w = weights + (image * 3 + i) * 3 * in;
                for (int64_t c = 0; c < in; c += WIDTH)
                    for (int tap = 0; tap < 3; tap++) {
                        const Reg own = load(w + tap * in + c);
#pragma GCC unroll 8
                        for (int p = 0; p < PIXELS; p++) sum[p] += own * load(at[p + tap] + c);
                    }
            }
            for (int p = 0; p < PIXELS && left + p < width; p++) {
                float total = bias;
                for (int n = 0; n < WIDTH; n++) total += sum[p][n];
                y[row * width + left + p] = total;
            }
        }
    }
}

// GroupNorm: means, what is left of them by rounding, and squares of what differs from them, each summed up in blocks and
// these in double
extern "C" void normalise_groups(const float *x, const float *weight, const float *bias, float *y, int64_t batch,
                                 int64_t pixels, int64_t channels, int64_t groups, float epsilon, int threads) {
    constexpr int64_t BLOCK = 128;
    const int64_t blocks = (pixels + BLOCK - 1) / BLOCK, own = channels / groups;
    if (batch * pixels * channels < 1 << 18) threads = 1;  // waiting for another would take longer
    const double count = double(pixels * own);
    std::vector<float> parts(batch * blocks * channels), mean(batch * channels), scale(batch * channels);
    for (int pass = 0; pass < 3; pass++) {
        const bool squares = pass == 2;
#pragma omp parallel for num_threads(threads)
        for (int64_t block = 0; block < batch * blocks; block++) {
            const int64_t image = block / blocks, first = block % blocks * BLOCK;
            const int64_t end = std::min(pixels, first + BLOCK);
            for (int64_t c = 0; c < channels; c += WIDTH) {
                const Reg center = load(&mean[image * channels + c]);
                Reg sum = {};
                for (int64_t p = first; p < end; p++) {
                    const Reg v = load(x + (image * pixels + p) * channels + c) - center;
                    sum += squares ? v * v : v;
                }
                store(&parts[block * channels + c], sum);
            }
        }
        for (int64_t group = 0; group < batch * groups; group++) {
            double sum = 0;
            for (int64_t block = 0; block < blocks; block++)
                for (int64_t c = 0; c < own; c++)
                    sum += parts[(group / groups * blocks + block) * channels + group % groups * own + c];
            float *to = (squares ? scale.data() : mean.data()) + group * own;
            const double value = squares ? 1 / std::sqrt(sum / count + epsilon) : *to + sum / count;
            std::fill(to, to + own, float(value));
        }
    }
#pragma omp parallel for num_threads(threads)
    for (int64_t block = 0; block < batch * blocks; block++) {
        const int64_t image = block / blocks, first = block % blocks * BLOCK, end = std::min(pixels, first + BLOCK);
        for (int64_t c = 0; c < channels; c += WIDTH) {
            const Reg center = load(&mean[image * channels + c]), shift = load(bias + c);
            const Reg factor = load(&scale[image * channels + c]) * load(weight + c);
            for (int64_t p = first; p < end; p++) {
                const int64_t at = (image * pixels + p) * channels + c;
                store(y + at, (load(x + at) - center) * factor + shift);
            }
        }
    }
}
