/* The part of a JPEG that is wanted, at the scale that is wanted, by libjpeg-turbo.
 *
 * A plain library without any of Python's: `dataflow.image.jpeg` calls it by ctypes, which lets other
 * threads run meanwhile. So one build serves every version of Python, and building needs no headers
 * but libjpeg-turbo's, 1.5 or later, for jpeg_crop_scanline() and jpeg_skip_scanlines().
 *
 * Pixels are bit for bit those of the whole image at the same scale, cut afterwards: what is decoded
 * has a margin around the part, since the upsampling of colour looks at the neighbours of a pixel.
 */

#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#ifndef LIBJPEG_TURBO_VERSION_NUMBER
#error "this is not libjpeg-turbo"
#endif

enum outcome {
    DECODED = 0,
    DAMAGED = 1,     /* all pixels were written, but the file's data for some of them is broken */
    BROKEN = -1,     /* no pixels */
    UNSUPPORTED = -2 /* a kind of JPEG that is left to others */
};

enum order { GREY = 0, BGR = 1, RGB = 2 };

enum { MARGIN = 2 }; /* in pixels of the result: one sample of colour at half the resolution */

struct reporter {
    struct jpeg_error_mgr base;
    jmp_buf escape;
    int damaged;
    char *text; /* JMSG_LENGTH_MAX bytes, for the first complaint */
};

static void fail(j_common_ptr codec)
{
    struct reporter *reporter = (struct reporter *)codec->err;
    codec->err->format_message(codec, reporter->text);
    longjmp(reporter->escape, 1);
}

/* Whether a warning means wrong pixels. Others are of no consequence, such as unused bytes. */
static int is_damage(int code)
{
    return code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_ARITH_BAD_CODE ||
           code == JWRN_MUST_RESYNC || code == JWRN_JPEG_EOF;
}

static void warn(j_common_ptr codec, int level)
{
    struct reporter *reporter = (struct reporter *)codec->err;
    if (level >= 0 || reporter->damaged || !is_damage(codec->err->msg_code))
        return;
    reporter->damaged = 1;
    codec->err->format_message(codec, reporter->text);
}

static void stay_silent(j_common_ptr codec)
{
    (void)codec;
}

static int is_other_kind(int code)
{
    return code == JERR_BAD_PRECISION || code == JERR_SOF_UNSUPPORTED ||
           code == JERR_ARITH_NOTIMPL || code == JERR_NOT_COMPILED ||
           code == JERR_CONVERSION_NOTIMPL || code == JERR_FRACT_SAMPLE_NOTIMPL;
}

/* libjpeg-turbo's version, as 2001005 for 2.1.5. */
int dataflow_jpeg_version(void)
{
    return LIBJPEG_TURBO_VERSION_NUMBER;
}

/* Decode a part of a JPEG.
 *
 * data, size: the file.
 * height, width: of the whole image; another one than these is UNSUPPORTED.
 * denominator: 1, 2, 4 or 8; the image is decoded at one part of this of its size, rounded up.
 * top, left, rows, columns: the part, in pixels at that size. It must lie within the image.
 * order: of the channels.
 * out: the caller's memory, rows × columns × channels, without gaps.
 * text: 200 bytes for what is wrong with the file.
 */
int dataflow_jpeg_decode(const unsigned char *data, size_t size, int height, int width,
                         int denominator, int top, int left, int rows, int columns, int order,
                         unsigned char *out, char *text)
{
    struct jpeg_decompress_struct codec;
    struct reporter reporter;
    unsigned char *volatile line = NULL;
    const size_t channels = order == GREY ? 1 : 3;

    text[0] = 0;
    codec.err = jpeg_std_error(&reporter.base);
    reporter.base.error_exit = fail;
    reporter.base.emit_message = warn;
    reporter.base.output_message = stay_silent;
    reporter.damaged = 0;
    reporter.text = text;
    if (setjmp(reporter.escape)) {
        const int other = is_other_kind(codec.err->msg_code);
        jpeg_destroy_decompress(&codec);
        free(line);
        return other ? UNSUPPORTED : BROKEN;
    }
    jpeg_create_decompress(&codec);
    jpeg_mem_src(&codec, (unsigned char *)data, (unsigned long)size);
    jpeg_read_header(&codec, TRUE);
    if ((int)codec.image_height != height || (int)codec.image_width != width ||
        (codec.jpeg_color_space != JCS_GRAYSCALE && codec.jpeg_color_space != JCS_YCbCr &&
         codec.jpeg_color_space != JCS_RGB)) {
        jpeg_destroy_decompress(&codec);
        return UNSUPPORTED;
    }
    codec.out_color_space = order == GREY ? JCS_GRAYSCALE : order == RGB ? JCS_EXT_RGB : JCS_EXT_BGR;
    codec.scale_num = 1;
    codec.scale_denom = (unsigned int)denominator;
    jpeg_start_decompress(&codec);

    const int whole_height = (int)codec.output_height, whole_width = (int)codec.output_width;
    if (top < 0 || left < 0 || rows < 1 || columns < 1 || rows > whole_height - top ||
        columns > whole_width - left) {
        jpeg_destroy_decompress(&codec);
        return UNSUPPORTED;
    }
    JDIMENSION first = left > MARGIN ? (JDIMENSION)(left - MARGIN) : 0;
    JDIMENSION across = (JDIMENSION)columns + ((JDIMENSION)left - first) + MARGIN;
    if (across > (JDIMENSION)whole_width - first)
        across = (JDIMENSION)whole_width - first;
    if (first > 0 || across < (JDIMENSION)whole_width)
        jpeg_crop_scanline(&codec, &first, &across); /* to whole blocks: these become more */

    const size_t wanted = (size_t)columns * channels;
    const size_t offset = ((size_t)left - first) * channels;
    const int straight = codec.output_width == (JDIMENSION)columns;
    if (!straight) {
        line = malloc((size_t)codec.output_width * channels);
        if (line == NULL)
            ERREXIT1(&codec, JERR_OUT_OF_MEMORY, 0);
    }
    const int above = top > MARGIN ? top - MARGIN : 0;
    if (above > 0)
        jpeg_skip_scanlines(&codec, (JDIMENSION)above);
    while ((int)codec.output_scanline < top + rows) {
        const int row = (int)codec.output_scanline - top;
        unsigned char *target = out + (row < 0 ? 0 : (size_t)row) * wanted;
        JSAMPROW scanline = straight ? target : line;
        if (jpeg_read_scanlines(&codec, &scanline, 1) != 1)
            ERREXIT(&codec, JERR_INPUT_EMPTY);
        if (row >= 0 && !straight)
            memcpy(target, line + offset, wanted);
    }
    if ((int)codec.output_scanline == whole_height)
        jpeg_finish_decompress(&codec); /* looks at what is left, and may warn */
    jpeg_destroy_decompress(&codec);
    free(line);
    return reporter.damaged ? DAMAGED : DECODED;
}
