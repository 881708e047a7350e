"""Recognize the columns of a price table by their names, in the languages of banks, brokers and exchanges.

Names are compared without case, accents, punctuation and units, so `<CLOSE>`, `close*` and `Close (USD)` are equal. The
spellings of a column are listed in tiers: a name of a later tier counts only if the table has none of an earlier tier.
Two names of one tier are an error, since a guess could read the wrong prices.
"""

import re
import unicodedata
from collections.abc import Sequence

__all__ = ["ADJUSTED_CLOSES", "IGNORED", "PLAIN", "TICKERS", "has_chinese_dates", "match_columns", "normalize"]

UNITS = (
    r"(?:usd|us\$|eur|gbp|gbx|jpy|krw|cny|hkd|twd|inr|chf|cad|aud|sek|nok|dkk|pln|czk|huf|rub|try|brl|mxn|zar|sgd|idr|"
    r"thb|vnd|myr|php|btc|eth|usdt|rs\.?|[$€£¥₩₹₽]|원|주|천주|백만|円|株|元|手|股|shares|lots|pts|points)"
)
UNIT = re.compile(rf"[(\[]\s*{UNITS}\s*[)\]]")
NUMBERING = re.compile(r"^\d+[.)] ")  # 1. open
MARKS = re.compile(r"[\W_]+")


def normalize(name: str) -> str:
    """Return a column's name without case, accents, spaces, punctuation, numbering and units."""
    text = UNIT.sub("", NUMBERING.sub("", unicodedata.normalize("NFKC", name).casefold().strip()))
    letters = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return MARKS.sub("", unicodedata.normalize("NFC", letters))


def _names(names: str) -> frozenset[str]:
    return frozenset(normalize(name) for name in names.split(","))


def _tiers(*tiers: str) -> tuple[frozenset[str], ...]:
    return tuple(map(_names, tiers))


SPELLINGS = {
    "date": _tiers(
        "date",
        "dates,trade date,年月日,년/월/일,년월일,trading date,trading day,business date,quote date,dtyyyymmdd,"
        "일자,날짜,거래일,거래일자,기준일,기준일자,영업일자,stck bsop date,日付,日期,交易日期,datum,fecha,data,"
        "dato,tarih,дата,tanggal,ngày,วันที่,päivämäärä,dátum,data pregão",
        "candle date time kst",
        "datetime,date time,date/time,일시,candle date time utc",
        "open time,timestamp,time,unix,unix time,epoch,unix timestamp,kline open time",
        "t",
    ),
    "open": _tiers(
        "open,opening price,open price,opening,px open,stck oprc,시가,오픈,시작가,始値,开盘,开盘价,開盤,開盤價,"
        "開盤价,eröffnung,eroeffnung,eröffnungskurs,eroeffnungskurs,erster,anfangskurs,ouverture,ouv,apertura,"
        "abertura,otwarcie,kurs otwarcia,openingskoers,öppning,öppningskurs,öppen,åpning,åpen,åbning,"
        "åbningskurs,avaus,açılış,откр,открытие,цена открытия,pembukaan,mở,mở cửa,giá mở cửa,เปิด,ราคาเปิด,"
        "nyitó,otevření,otevírací",
        "o",
    ),
    "high": _tiers(
        "high,high price,highest,highest price,day high,max,px high,stck hgpr,고가,최고가,高値,最高,最高价,"
        "最高價,hoch,höchst,hoechst,höchstkurs,hoechstkurs,tageshoch,höchster,haut,plus haut,máximo,máxima,máx,"
        "massimo,najwyższy,kurs max,hoog,hoogste,högst,högsta,högstakurs,høy,høyest,høj,højest,ylin,yüksek,"
        "en yüksek,макс,максимум,tertinggi,cao,cao nhất,giá cao nhất,สูงสุด,ราคาสูงสุด,legmagasabb,nejvyšší",
        "h",
    ),
    "low": _tiers(
        "low,low price,lowest,lowest price,day low,min,px low,stck lwpr,저가,최저가,安値,最低,最低价,最低價,"
        "tief,tiefst,tiefstkurs,tagestief,niedrigster,bas,plus bas,mínimo,mínima,mín,minimo,najniższy,kurs min,"
        "laag,laagste,lägst,lägsta,lägstakurs,lav,lavest,alin,düşük,en düşük,мин,минимум,terendah,thấp,"
        "thấp nhất,giá thấp nhất,ต่ำสุด,ราคาต่ำสุด,legalacsonyabb,nejnižší",
        "l",
    ),
    "close": _tiers(
        "close,closing price,close price,closing,close/last,stck clpr,종가,終値,收盘,收盘价,收盤,收盤價,"
        "schluss,schlusskurs,clôture,clot,cours de clôture,cierre,fechamento,chiusura,zamknięcie,"
        "kurs zamknięcia,slotkoers,slot,stängning,stängningskurs,slutkurs,sluttkurs,lukkekurs,päätös,"
        "päätöskurssi,kapanış,закрытие,закр,цена закрытия,penutupan,đóng cửa,giá đóng cửa,ปิด,ราคาปิด,záró,"
        "uzavření,závěr",
        "last,last price,luk,매매기준율,last traded price,ltp,settle,settlement price,px last,price,"
        "trade price,현재가,letzter,kurs,zuletzt,dernier,último,ultimo,ostatnio,senast,siste,seneste,laatste,"
        "şimdi,цена,последняя,terakhir,lần cuối,ล่าสุด,最新,preço",
        "c",
    ),
    "volume": _tiers(
        "volume,vol,volumes,total volume,trading volume,total traded quantity,total trade quantity,"
        "no.of shares,shares traded,traded volume,px volume,acml vol,candle acc trade volume,거래량,누적거래량,"
        "出来高,成交量,成交股數,成交股数,stück,stuecke,volym,total volym,volum,wolumen,wol,hacim,hac,объем,"
        "ปริมาณ,kl,khối lượng,objem",
        "volumen,tick volume,tickvol,real volume",
        "v",
    ),
    "time": _tiers(
        "time,시간,체결시간,時刻,時間,uhrzeit,heure,hora,ora,czas,godzina,saat,время,tid,tijd",
    ),
}  # fmt: skip
PLAIN = {"date", "datetime", "timestamp", "open", "high", "low", "close", "volume", "vol", "closelast", ""}
ADJUSTED_CLOSES = _names("adj close,adjusted close,adj closing price,수정종가,調整後終値,終値調整,終値調整値,后复权价")
TICKERS = _names(
    "ticker,symbol,name,code,stock,stock code,ts code,isin,wkn,instrument,security,company,market,pair,asset,"
    "종목,종목코드,종목명,단축코드,표준코드,銘柄,銘柄コード,コード,股票代码,代码,名称,股票名称,證券代號,"
    "證券名稱,symbole,codigo,papel,código,sembol,тикер"
)  # fmt: skip
IGNORED = ADJUSTED_CLOSES | TICKERS | {""} | _names(
    "adj close,dividends,dividend,stock splits,split ratio,capital gains,repaired?,change %,change,chg%,var%,"
    "per,openint,open interest,대비,전일대비,등락률,변동 %,거래대금,시가총액,상장시가총액,상장주식수,% var,"
    "variación %,var. %,diff,fark %,изм %,zmiana %,涨跌幅,涨跌额,换手率,振幅,成交额,成交金额,成交金額,成交筆數,"
    "漲跌價差,前日比,売買代金,spread,prev close,turnover"
)  # fmt: skip


def has_chinese_dates(name: str) -> bool:
    """Return whether a date column has a Chinese name, so that years of two digits may be those of Taiwan."""
    return any("\u4e00" <= letter <= "\u9fff" for letter in name)


def match_columns(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of the columns that can be each standard column; several if the names are ambiguous.

    `time` is the time of day beside a date. A column is used once only.
    """
    known = [normalize(name) for name in names]
    found: dict[str, list[int]] = {}
    for standard, tiers in SPELLINGS.items():
        free = [index for index in range(len(known)) if index not in found.get("date", ())]
        matches = ([index for index in free if known[index] in tier] for tier in tiers)
        found[standard] = next((indices for indices in matches if indices), [])
    return found
