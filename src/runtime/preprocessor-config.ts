import { VitpassError } from '../errors.ts'
import type { Size } from './image.ts'
import type { Preprocessing } from './preprocessing.ts'
import { FILTERS, type Filter } from './resample.ts'
import type { Resize, SizePolicy } from './resize-policy.ts'

export interface ConfigOptions {
  /** Leave every image at its own size, whatever the file says about resizing and cropping. Default false. */
  readonly keepSize?: boolean
  /** Channels of the model. Default 3. */
  readonly channels?: number
  /** The file, for errors. */
  readonly where?: string
}

/** Processors that took `"size": 224` for the shorter side, and those that took it for both. */
const INTEGER_IS_SHORTEST = [
  'Bit',
  'ChineseCLIP',
  'CLIP',
  'ConvNext',
  'MobileNetV1',
  'MobileNetV2',
  'MobileViT',
  'TextNet',
]
const INTEGER_IS_SQUARE = ['Beit', 'Deit', 'DeiT', 'DINOv3ViT', 'Pvt', 'Segformer', 'Siglip', 'ViT', 'ViTHybrid']

/** A MobileViT file may hold a mean that is never used: what it does not ask for, it does not do. */
const NOT_NORMALISED = ['MobileViT']

/** Processors that resize by a rule which their fields do not spell out. */
const OWN_RULE = ['DPT', 'EfficientNet', 'Flava', 'Levit', 'Perceiver', 'PoolFormer', 'Vilt']

/** Fields that decide about sizes only, so that they do not matter where the size is kept. */
const ABOUT_SIZES = new Set([
  ...['size', 'resample', 'do_resize', 'crop_size', 'do_center_crop', 'crop_pct', 'max_size', 'default_to_square'],
  ...['do_pad', 'pad_size', 'size_divisor', 'ensure_multiple_of', 'keep_aspect_ratio', 'do_thumbnail', 'do_align_axis'],
  ...['do_align_long_axis', 'max_num_patches', 'patch_size', 'min_pixels', 'max_pixels', 'do_image_splitting'],
])

/** Fields that are read, and fields that leave pixels alone. */
const KNOWN = new Set([
  ...['size', 'resample', 'do_resize', 'crop_size', 'do_center_crop', 'crop_pct', 'max_size', 'default_to_square'],
  ...[
    'do_rescale',
    'rescale_factor',
    'do_normalize',
    'image_mean',
    'image_std',
    'do_convert_rgb',
    'do_flip_channel_order',
  ],
  ...['image_processor_type', 'feature_extractor_type', 'processor_class', 'auto_map', 'data_format', 'device'],
  ...[
    'input_data_format',
    'return_tensors',
    'disable_grouping',
    'image_seq_length',
    'num_channels',
    'do_reduce_labels',
  ],
  ...[
    'mask_size',
    'mask_pad_size',
    '_valid_processor_keys',
    '_processor_class',
    'transformers_version',
    'model_input_names',
  ],
])

type Fields = Readonly<Record<string, unknown>>

/**
 * Reads a Hugging Face `preprocessor_config.json` (or the `image_processor` of a `processor_config.json`).
 * @param config the parsed JSON
 * @throws VitpassError CONFIG_INVALID for values of another form; CONFIG_UNSUPPORTED, naming the field, for what is not known to be harmless
 */
export function readPreprocessing(config: unknown, options: ConfigOptions = {}): Preprocessing {
  const reader = new ConfigReader(fieldsOf(config, options.where), options)
  return reader.read()
}

function fieldsOf(config: unknown, where: string | undefined): Fields {
  if (!isFields(config)) throw new VitpassError('CONFIG_INVALID', 'this is no JSON object', place(where))
  return isFields(config.image_processor) ? config.image_processor : config
}

class ConfigReader {
  private readonly fields: Fields
  private readonly options: ConfigOptions
  /** `ViT` of `ViTImageProcessorFast`. */
  private readonly kind: string

  constructor(fields: Fields, options: ConfigOptions) {
    this.fields = fields
    this.options = options
    const type = fields.image_processor_type ?? fields.feature_extractor_type ?? ''
    this.kind = String(type).replace(/(ImageProcessor(Fast|Pil)?|FeatureExtractor)$/, '')
  }

  read(): Preprocessing {
    this.refuseUnknown()
    const { channels = 3, keepSize = false } = this.options
    const normalises = this.flag(
      'do_normalize',
      this.fields.image_mean !== undefined && !NOT_NORMALISED.includes(this.kind),
    )
    const sized = keepSize ? { resize: null, crop: null } : this.sizes()
    return {
      ...sized,
      scale: this.flag('do_rescale', true) ? this.number('rescale_factor', 1 / 255) : 1,
      mean: normalises ? this.perChannel('image_mean', channels) : Array(channels).fill(0),
      std: normalises ? this.perChannel('image_std', channels) : Array(channels).fill(1),
      reversed: this.flag('do_flip_channel_order', false),
    }
  }

  private refuseUnknown(): void {
    const { keepSize = false } = this.options
    for (const [field, value] of Object.entries(this.fields)) {
      if (KNOWN.has(field) || value === null || value === false) continue
      if (field === 'pad_size' && !this.flag('do_pad', true)) continue
      if (field === 'ensure_multiple_of' && value === 1) continue
      if (keepSize && ABOUT_SIZES.has(field)) continue
      throw this.unsupported(field, `is not known, so what it does to an image cannot be done here`)
    }
    if (this.kind === 'EfficientNet') {
      throw this.unsupported(
        'image_processor_type',
        'of EfficientNet normalises in a way of its own, which is not known',
      )
    }
    if (!keepSize && OWN_RULE.includes(this.kind)) {
      throw this.unsupported('image_processor_type', `of ${this.kind} resizes by a rule of its own, which is not known`)
    }
  }

  private sizes(): Pick<Preprocessing, 'resize' | 'crop'> {
    const resizes = this.flag('do_resize', this.fields.size !== undefined)
    const crops = this.flag('do_center_crop', false)
    const crop = crops ? this.cropSize() : null
    if (!resizes) return { resize: null, crop }
    const filter = this.filter()
    const floats = this.kind === 'DINOv3ViT'
    const to = this.sizePolicy()
    if (this.kind === 'ConvNext') return { ...this.convNext(to, filter), ...(crop === null ? {} : { crop }) }
    if (this.fields.crop_pct !== undefined && this.fields.crop_pct !== null) {
      throw this.unsupported('crop_pct', `is known for ConvNext only, not for ${this.kind || 'an unnamed processor'}`)
    }
    return { resize: { to, filter, floats }, crop }
  }

  /** ConvNext below 384: resized larger by `crop_pct`, then cut to a square; from 384 on warped into a square. */
  private convNext(to: SizePolicy, filter: Filter): Pick<Preprocessing, 'resize' | 'crop'> {
    if (to.kind !== 'shortest') throw this.unsupported('size', 'of ConvNext has another form than {"shortest_edge": n}')
    const square = { height: to.shortest, width: to.shortest }
    const resize = (policy: SizePolicy): Resize => ({ to: policy, filter, floats: false })
    if (to.shortest >= 384) return { resize: resize({ kind: 'exact', ...square }), crop: null }
    const shortest = Math.trunc(to.shortest / this.number('crop_pct', 224 / 256))
    return { resize: resize({ kind: 'shortest', shortest }), crop: square }
  }

  private sizePolicy(): SizePolicy {
    const { size } = this.fields
    if (typeof size === 'number') return this.integerSize(this.length('size', size))
    if (Array.isArray(size) && size.length === 2) {
      return { kind: 'exact', height: this.length('size', size[0]), width: this.length('size', size[1]) }
    }
    if (!isFields(size)) throw this.invalid('size', 'an object such as {"height": 224, "width": 224}')
    const given = Object.entries(size).filter(([, value]) => value !== null)
    const keys = given.map(([key]) => key).sort()
    const of = (key: string): number => this.length(`size.${key}`, size[key])
    switch (keys.join(' ')) {
      case 'height width':
        return { kind: 'exact', height: of('height'), width: of('width') }
      case 'shortest_edge':
        return { kind: 'shortest', shortest: of('shortest_edge') }
      case 'longest_edge shortest_edge':
        return { kind: 'shortest', shortest: of('shortest_edge'), longest: of('longest_edge') }
      case 'longest_edge':
        return { kind: 'longest', longest: of('longest_edge') }
      case 'max_height max_width':
        return { kind: 'fit', maxHeight: of('max_height'), maxWidth: of('max_width') }
      default:
        throw this.unsupported('size', `with ${keys.join(', ') || 'no key'} is no resize policy that is known`)
    }
  }

  private integerSize(length: number): SizePolicy {
    const { default_to_square: square, max_size: longest } = this.fields
    if (longest !== undefined && longest !== null)
      throw this.unsupported('max_size', 'beside a number as size is not known')
    if (square === true || (square !== false && INTEGER_IS_SQUARE.includes(this.kind))) {
      return { kind: 'exact', height: length, width: length }
    }
    if (square === false || INTEGER_IS_SHORTEST.includes(this.kind)) return { kind: 'shortest', shortest: length }
    throw this.unsupported('size', `is ${length}, which may mean the shorter side or both`)
  }

  private cropSize(): Size {
    const { crop_size: size } = this.fields
    if (typeof size === 'number')
      return { height: this.length('crop_size', size), width: this.length('crop_size', size) }
    if (!isFields(size)) throw this.invalid('crop_size', 'an object such as {"height": 224, "width": 224}')
    return {
      height: this.length('crop_size.height', size.height),
      width: this.length('crop_size.width', size.width),
    }
  }

  private filter(): Filter {
    const { resample } = this.fields
    const filter = typeof resample === 'number' ? FILTERS[resample] : undefined
    if (filter === undefined) throw this.invalid('resample', "one of the numbers 0 to 5, which name Pillow's filters")
    return filter
  }

  private perChannel(field: string, channels: number): number[] {
    const value = this.fields[field]
    const values: unknown[] = Array.isArray(value) ? value : Array(channels).fill(value)
    if (values.length !== channels || !values.every((part) => typeof part === 'number' && Number.isFinite(part))) {
      throw this.invalid(field, channels === 1 ? 'a number' : `a number or ${channels} of them`)
    }
    if (field === 'image_std' && values.includes(0)) throw this.invalid(field, 'other than 0')
    return values.map(Number)
  }

  private flag(field: string, otherwise: boolean): boolean {
    const value = this.fields[field]
    if (value === undefined) return otherwise
    if (value === null) return false
    if (typeof value !== 'boolean') throw this.invalid(field, 'true or false')
    return value
  }

  private number(field: string, otherwise: number): number {
    const value = this.fields[field] ?? otherwise
    if (typeof value !== 'number' || !(value > 0 && Number.isFinite(value)))
      throw this.invalid(field, 'a number above 0')
    return value
  }

  private length(field: string, value: unknown): number {
    if (typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 65_535) return value
    throw this.invalid(field, 'a whole number of pixels')
  }

  private invalid(field: string, wanted: string): VitpassError {
    const found =
      this.fields[field] === undefined ? 'is missing or incomplete' : `is ${JSON.stringify(this.fields[field])}`
    return new VitpassError('CONFIG_INVALID', `${field} ${found}, but should be ${wanted}`, place(this.options.where))
  }

  private unsupported(field: string, what: string): VitpassError {
    return new VitpassError('CONFIG_UNSUPPORTED', `${field} ${what}`, {
      ...place(this.options.where),
      remedy:
        'prepare the images before and give a file without it, or keep their size where only the size is at stake',
    })
  }
}

function place(where: string | undefined): { readonly where?: string } {
  return where === undefined ? {} : { where }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
